package roles

import (
	"cmp"
	"context"
	"fmt"

	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
	"github.com/zerosearch-go/zerosearch/rl/dense"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// indexed makes an engine over the corpus: bm25, dense, or hybrid of both. Engines of a mixture share the corpus and
// what was made of it.
func (o *opener) indexed(ctx context.Context, mode string) (search.Searcher, error) {
	if err := o.readCorpus(ctx); err != nil {
		return nil, err
	}
	if mode != "dense" && o.words == nil {
		x, err := await.Call(ctx, func() (*search.BM25, error) { return search.NewBM25(o.passages()), nil })
		if err != nil {
			return nil, err
		}
		x.TopK = o.TopK
		o.words = x
	}
	if mode == "bm25" {
		return o.words, nil
	}
	if o.vectors == nil {
		if err := o.embed(ctx); err != nil {
			return nil, err
		}
	}
	out := &search.Ranked{Label: mode, Passages: o.passages(), TopK: o.TopK, Rankers: []search.Ranker{o.vectors}}
	if mode == "hybrid" {
		out.Rankers = []search.Ranker{o.words, o.vectors}
	}
	return out, nil
}

func (o *opener) passages() []string { return o.SearchEngines.Corpus.Passages }

// keep is the folder of --index.
func (o *opener) keep() string {
	if o.Index == "none" {
		return ""
	}
	return o.Index
}

// readCorpus reads the corpus once.
func (o *opener) readCorpus(ctx context.Context) error {
	if o.SearchEngines.Corpus != nil {
		return nil
	}
	corpus, err := await.Call(ctx, func() (*search.Corpus, error) {
		return search.Reader{Keep: o.keep()}.Read(list(o.Search.Corpus)...)
	})
	if err != nil {
		return err
	}
	if note := corpus.Note(); note != "" {
		o.Notes = append(o.Notes, note)
	}
	if corpus.KeepError != nil {
		o.Notes = append(o.Notes, corpus.KeepError.Error())
	}
	o.SearchEngines.Corpus = corpus
	o.Parts["corpus"] = fingerprint.Mark + corpus.Digest()
	return nil
}

// embed opens the embedding model, on a device of its own, and makes the vectors of the corpus.
func (o *opener) embed(ctx context.Context) error {
	dir, err := rundir.ModelDir(o.Embedding)
	if err != nil {
		return err
	}
	parts, err := await.Call(ctx, func() (fingerprint.Parts, error) {
		p := fingerprint.Parts{}
		return p, ModelParts(p, "embedding-model", dir)
	})
	if err != nil {
		return err
	}
	o.Parts.Merge(parts)
	dev, err := devices.Open(cmp.Or(o.EmbeddingOn, devices.CPU), devices.Options{Threads: o.Threads})
	if err != nil {
		return fmt.Errorf("opening --embedding-device: %w", err)
	}
	o.close = append(o.close, func() { _ = dev.Close() })
	enc, err := dense.Open(ctx, dev, dir, 0)
	if err != nil {
		return err
	}
	o.close = append(o.close, enc.Close)
	x, err := dense.NewIndex(ctx, enc, o.passages(), dense.IndexOptions{Keep: o.keep(), Model: fmt.Sprint(parts),
		Progress: o.Progress})
	if err != nil {
		return err
	}
	o.close = append(o.close, x.Close)
	o.vectors = x
	return nil
}
