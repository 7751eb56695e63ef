package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/zerosearch-go/zerosearch/serve"
)

type serveCmd struct {
	common
	modelFlags
	Dir          string        `arg:"" optional:"" name:"dir" help:"The model, as --model names it."`
	Host         string        `name:"host" help:"Address to listen on; 127.0.0.1 is this machine only." default:"127.0.0.1"`
	Port         int           `name:"port" help:"Port to listen on; 0: any that is free." default:"6001"`
	Names        []string      `name:"served-model-name" help:"Name for clients (default: the folder's); several may be given." placeholder:"NAME"`
	APIKey       string        `name:"api-key" help:"Ask clients for this key; better given as ZEROSEARCH_API_KEY." placeholder:"KEY"`
	AllowOrigin  []string      `name:"allow-origin" help:"Origin of web pages that may use the server from a browser, as http://localhost:3000, or * for all; several may be given (default: none)." placeholder:"ORIGIN"`
	MaxQueue     int           `name:"max-queue" help:"Sequences running or waiting at most; beyond them the answer is 429." default:"512"`
	MaxBody      int64         `name:"max-body" help:"Bytes of a request at most." default:"4194304"`
	DrainTimeout time.Duration `name:"drain-timeout" help:"Time for what is under way when the server is told to stop." default:"30s"`
}

func (c *serveCmd) Run(w *world) error {
	w.keepsGoing()
	switch {
	case c.MaxQueue < 1:
		return usagef("--max-queue must be at least 1")
	case c.MaxBody < 1:
		return usagef("--max-body must be at least 1")
	case c.DrainTimeout <= 0:
		return usagef("--drain-timeout must be above 0")
	}
	if left := c.named(c.Dir); len(left) > 0 {
		return usagef("%q is one word too many: the model is given by --model already", left[0])
	}
	for _, origin := range c.AllowOrigin {
		if err := serve.CheckOrigin(origin); err != nil {
			return usagef("--allow-origin: %w", err)
		}
	}
	// before the model is loaded: a port in use is known at once
	l, err := net.Listen("tcp", net.JoinHostPort(c.Host, strconv.Itoa(c.Port)))
	if err != nil {
		return fmt.Errorf("opening the server's port: %w: choose another with --port", err)
	}
	defer l.Close()
	s, err := c.modelFlags.serve(w, c.common)
	if err != nil {
		return err
	}
	defer s.Close()
	server, err := serve.New(s.eng, c.models(s), serve.Options{APIKey: c.APIKey, AllowOrigins: c.AllowOrigin,
		MaxSequences: c.MaxQueue, MaxBody: c.MaxBody, DrainTimeout: c.DrainTimeout, Log: w.log.line})
	if err != nil {
		return err
	}
	url := "http://" + l.Addr().String()
	if ip := net.ParseIP(c.Host); c.APIKey == "" && c.Host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		w.log.line("note: anybody who reaches %s may use this server: set --api-key to ask for a key", url)
	}
	if c.JSON {
		if err := writeJSON(w, map[string]any{"url": url, "models": c.names(s)}); err != nil {
			return err
		}
	}
	w.log.line("serving %s at %s/v1, with a page at %s/: stop it with Ctrl-C", c.names(s)[0], url, url)
	return server.Serve(w.ctx, l)
}

func (c *serveCmd) names(s *served) []string {
	if len(c.Names) > 0 {
		return c.Names
	}
	dir := s.model.Dir
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return []string{filepath.Base(dir)}
}

// models is the model under each of its names.
func (c *serveCmd) models(s *served) (all []serve.Model) {
	for _, name := range c.names(s) {
		all = append(all, serve.Model{ID: name, Engine: served0, Adapter: s.model.Adapter, Config: s.model.Model.Config,
			Tokenizer: s.model.Tokenizer,
			Template:  s.model.Template, EOS: s.model.EOS()})
	}
	return all
}
