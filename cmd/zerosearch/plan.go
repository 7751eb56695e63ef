package main

func (c *trainCmd) plan(w *world) error   { return nil }
func (c *trainCmd) replay(w *world) error { return nil }
