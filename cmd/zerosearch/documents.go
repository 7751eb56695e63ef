package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/assistant"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/eval"
)

// documentFlags say what is searched for a person's questions, and how they are answered.
type documentFlags struct {
	simFlags
	Docs   []string `name:"docs" help:"What to search in: files or folders, as --corpus takes them; may be repeated." placeholder:"FILE|DIR"`
	Method string   `name:"method" help:"How an answer is found: agent (the model searches in turns), rag (one retrieval), direct (from memory), or auto: agent for a model that train or sft of this program made (its folder is a checkpoint), and rag for any other or when the agent gives no answer; direct without documents." default:"auto" placeholder:"NAME"`
	Style  string   `name:"style" help:"What an answer looks like: short (a few words), or a longer text with citations: draft (an e-mail or letter), tutor (an explanation), report." default:"short" placeholder:"NAME"`

	Search config.Search `embed:""`
}

// how is the method and the style that the flags name.
func (c *documentFlags) how() (eval.Method, assistant.Style, error) {
	method, err := assistant.ParseMethod(c.Method)
	if err != nil {
		return "", "", usagef("--method: %w", err)
	}
	style, err := assistant.ParseStyle(c.Style)
	if err != nil {
		return "", "", usagef("--style: %w", err)
	}
	return method, style, nil
}

// assistant makes the assistant of a policy and its search engine.
func (c *documentFlags) assistant(a *agent, m eval.Method, s assistant.Style) assistant.Options {
	return assistant.Options{Worker: a.worker, Method: m, Style: s, Trained: a.model.Trained(),
		Documents: c.Search.Mode != "none" && !strings.Contains(c.Search.Label(), "simulated"),
		Corpus:    a.engines.Corpus}
}

// chooseEngine takes bm25 where there is something to search in, or hybrid with an embedding model, unless a mode was
// asked for.
func (c *documentFlags) chooseEngine(w *world, model string) error {
	chosen := w.given("search-mode")
	if own := filepath.Join(model, "corpus.jsonl"); !chosen && c.Search.Corpus == "" && len(c.Docs) == 0 &&
		model != "" && exists(own) {
		c.Search.Corpus = own // the corpus of a run directory that has one, as the demo's
	}
	switch {
	case len(c.Docs) > 0 && (chosen && !c.Search.Indexed() || c.Search.Corpus != ""):
		return usagef("--docs contradicts --search-mode %s and --corpus: it is an index of its own", c.Search.Mode)
	case len(c.Docs) > 0:
		c.Search.Corpus = strings.Join(c.Docs, ",")
	}
	switch {
	case chosen || c.Search.Corpus == "":
	case c.Search.Embedding != "":
		c.Search.Mode = "hybrid"
	default:
		c.Search.Mode = "bm25"
	}
	if dir, err := os.UserCacheDir(); err == nil && c.Search.Index == "" {
		c.Search.Index = filepath.Join(dir, "zerosearch", "index")
	}
	if c.Search.NoiseRate == nil {
		c.Search.NoiseRate = new(float64)
	}
	return nil
}

// noteMadeUp tells the user where a model writes the documents.
func (c *documentFlags) noteMadeUp(w *world) {
	if strings.Contains(c.Search.Label(), "simulated") && c.Method != "direct" {
		w.log.line("note: documents are made up by a model (--search-mode %s): give --corpus or --docs for real ones",
			c.Search.Mode)
	}
}
