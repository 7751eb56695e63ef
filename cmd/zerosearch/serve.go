package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/serve"
)

type serveCmd struct {
	common
	weightFlags
	documentFlags
	turnFlags
	Dir          string        `arg:"" optional:"" name:"dir" help:"The model, as --model names it."`
	Models       []string      `name:"model" sep:"none" help:"Hugging Face folder, GGUF file, org/name in the Hugging Face cache (see pull), or a run directory (its last checkpoint); with NAME= before it, NAME is what clients call it (default: the folder's name). May be repeated." placeholder:"[NAME=]DIR"`
	Adapters     []string      `name:"adapter" sep:"none" help:"peft folder, served as a model of its own over the one it was made for; a sole one without NAME= becomes part of a sole model. May be repeated." placeholder:"[NAME=]DIR"`
	Host         string        `name:"host" help:"Address to listen on; 127.0.0.1 is this machine only." default:"127.0.0.1"`
	Port         int           `name:"port" help:"Port to listen on; 0: any that is free." default:"6001"`
	Names        []string      `name:"served-model-name" help:"Name of a sole model for clients; several may be given." placeholder:"NAME"`
	APIKey       string        `name:"api-key" help:"Ask clients for this key; better given as ZEROSEARCH_API_KEY." placeholder:"KEY"`
	AllowOrigin  []string      `name:"allow-origin" help:"Origin of web pages that may use the server from a browser, as http://localhost:3000, or * for all; several may be given (default: none)." placeholder:"ORIGIN"`
	MaxQueue     int           `name:"max-queue" help:"Sequences running or waiting at most; beyond them the answer is 429." default:"512"`
	MaxBody      int64         `name:"max-body" help:"Bytes of a request at most." default:"4194304"`
	DrainTimeout time.Duration `name:"drain-timeout" help:"Time to finish running requests when the server is told to stop." default:"30s"`
	Embeddings   bool          `name:"embeddings" help:"/v1/embeddings works for models that were trained to generate text, too: their vectors are the last token's hidden state."`
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
	if err := c.named(); err != nil {
		return err
	}
	for _, origin := range c.AllowOrigin {
		if err := serve.CheckOrigin(origin); err != nil {
			return usagef("--allow-origin: %w", err)
		}
	}
	_, first := roles.Named(c.Models[0])
	searches, err := c.documentFlags.check(w, first)
	if err != nil {
		return err
	}
	// before the model is loaded: a port in use is known at once
	l, err := net.Listen("tcp", net.JoinHostPort(c.Host, strconv.Itoa(c.Port)))
	if err != nil {
		return fmt.Errorf("opening the server's port: %w: choose another with --port", err)
	}
	defer l.Close()
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.Close()
	models := c.served(s)
	if searches {
		a, err := c.agents(w, s)
		if err != nil {
			return err
		}
		defer a.closeSearch()
		defer s.closeEngine()
		models = a.add(models, s, c)
	}
	server, err := serve.New(s.eng, models, serve.Options{APIKey: c.APIKey, AllowOrigins: c.AllowOrigin,
		MaxSequences: c.MaxQueue, MaxBody: c.MaxBody, DrainTimeout: c.DrainTimeout, Version: release, Log: w.log.line})
	if err != nil {
		return err
	}
	url := "http://" + l.Addr().String()
	if ip := net.ParseIP(c.Host); c.APIKey == "" && c.Host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		w.log.line("note: anybody who reaches %s may use this server: set --api-key to ask for a key", url)
	}
	var names []string
	for _, m := range models {
		names = append(names, m.ID)
	}
	if c.JSON {
		if err := writeJSON(w, map[string]any{"url": url, "models": names}); err != nil {
			return err
		}
	}
	if n := len(c.Names); n > 0 {
		names = append(names[:1], names[n:]...) // those between are the same model
	}
	w.log.line("serving %s at %s/v1, with a page at %s/: stop it with Ctrl-C", strings.Join(names, ", "),
		url, url)
	return server.Serve(w.ctx, l)
}

// named takes the word of the command as the model, where --model gives none, and checks the names.
func (c *serveCmd) named() error {
	switch {
	case c.Dir != "" && len(c.Models) > 0:
		return usagef("%q is one word too many: the model is given by --model already", c.Dir)
	case c.Dir != "":
		c.Models = []string{c.Dir}
	case len(c.Models) == 0:
		return usagef("--model is missing: give a model folder")
	}
	if named, _ := roles.Named(c.Models[0]); len(c.Names) > 0 && (len(c.Models) > 1 || named != "") {
		return usagef("--served-model-name is for one model without a name: give --model NAME=DIR, several times")
	}
	return nil
}
