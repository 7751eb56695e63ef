package roles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/model/hub"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// levels is how many folders, the adapter's and those above it, are searched for its base.
const levels = 8

// AdapterBase says where the base of the adapter in dir lies; "" if dir holds no adapter, or one that names no base.
// The base is what base_model_name_or_path says, seen from the working directory as peft sees it. If nothing is
// there, it is searched for from the adapter's folder and those above it, so that an adapter is found together with
// its base where both have been moved, and from every working directory. note, if not "", is for the user.
func AdapterBase(dir string) (base, note string, err error) {
	c, err := model.ReadAdapterConfig(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil || c.Base() == "" {
		return "", "", err
	}
	named := filepath.FromSlash(c.Base())
	places, err := besideAdapter(dir, named)
	if err != nil {
		return "", "", err
	}
	places = slices.DeleteFunc(places, func(p string) bool { return !isBase(p, dir) })
	if isBase(named, dir) {
		if !filepath.IsAbs(named) && len(places) > 0 && !sameFile(named, places[0]) {
			note = fmt.Sprintf(
				"adapter %s: its base %q is taken from the working directory; there is another one in %s",
				dir, c.Base(), places[0])
		}
		base, err = rundir.ModelDir(named)
		return base, note, err
	}
	if len(places) == 0 {
		pull := ":"
		if hubName(c.Base()) {
			pull = ", nor in the Hugging Face cache: run " + hub.Repo{Name: c.Base()}.PullLine("") + ","
		}
		return "", "",
			fmt.Errorf("opening adapter %s: its base model %q (base_model_name_or_path) is neither there, seen "+
				"from the working directory, nor in the folder of the adapter or one above it%s correct it in "+
				"adapter_config.json, or say --model BASE --adapter %s", dir, c.Base(), pull, dir)
	}
	base, err = rundir.ModelDir(places[0])
	return base, fmt.Sprintf("adapter %s: its base %q is not there, %s is taken for it", dir, c.Base(), base), err
}

// isAdapter reports whether dir holds an adapter.
func isAdapter(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "adapter_config.json"))
	return err == nil
}

// namesNoBase says that an adapter can only be opened over a base that is told.
func namesNoBase(dir string) error {
	return fmt.Errorf(
		"opening adapter %s: adapter_config.json names no base model: say --model BASE --adapter %s, or set "+
			"base_model_name_or_path to its base", dir, dir)
}

// besideAdapter lists where the base called named may lie when it has kept its place relative to the adapter's
// folder. Of an absolute path the longest end that is found counts.
func besideAdapter(dir, named string) (places []string, err error) {
	at, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	var above []string
	for range levels {
		above = append(above, at)
		at = filepath.Dir(at)
	}
	above = slices.Compact(above)
	ends := []string{filepath.Clean(named)}
	if filepath.IsAbs(named) {
		ends = nil
		rest := strings.TrimPrefix(filepath.ToSlash(filepath.Clean(named)),
			filepath.ToSlash(filepath.VolumeName(named)))
		for rest = strings.Trim(rest, "/"); rest != ""; {
			ends = append(ends, filepath.FromSlash(rest))
			_, rest, _ = strings.Cut(rest, "/")
		}
	}
	for _, end := range ends {
		for _, a := range above {
			places = append(places, filepath.Join(a, end))
		}
	}
	return places, nil
}

// isBase reports whether a model lies in path that the adapter in dir can be over: a whole one.
func isBase(path, dir string) bool {
	found, err := rundir.ModelDir(path)
	if err != nil || sameFile(found, dir) {
		return false
	}
	_, err = os.Stat(filepath.Join(found, "config.json"))
	return err == nil || gguf.Is(found)
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return errors.Join(err, err2) == nil && os.SameFile(x, y)
}

// MadeFor is the one rule by which an adapter shares a base that is open: it was made for the model in base. Both
// folders are compared by content where both are at hand; a name of the Hugging Face hub that is nowhere here is
// compared by its last part. An adapter that names no base is taken to be made for this one. note, if not "", is for
// the user.
func MadeFor(adapter, base string) (made bool, note string, err error) {
	dir, err := rundir.ModelDir(adapter)
	if err != nil {
		return false, "", nil // who opens it says what is wrong
	}
	c, err := model.ReadAdapterConfig(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, "", nil
	}
	if err != nil {
		return false, "", err
	}
	if c.Base() == "" {
		return true, fmt.Sprintf("adapter %s names no base: it is taken to be made for %s", dir, base), nil
	}
	own, note, err := AdapterBase(dir)
	if err != nil {
		if !hubName(c.Base()) || path.Base(c.Base()) != filepath.Base(base) {
			return false, "", nil
		}
		return true, fmt.Sprintf("adapter %s: its base %q is not there, %s is taken for it by its name", dir, c.Base(),
			base), nil
	}
	made, err = sameModel(own, base)
	return made, note, err
}

// hubName reports whether name is one of the Hugging Face hub's: owner/name.
func hubName(name string) bool {
	repo, revision, ok := hub.ParseName(name)
	return ok && revision == "" && strings.Contains(repo, "/")
}

// sameModel compares weights and configurations of two folders.
func sameModel(a, b string) (bool, error) {
	if sameFile(a, b) {
		return true, nil
	}
	x, y := fingerprint.Parts{}, fingerprint.Parts{}
	if err := errors.Join(x.Model("base", a), y.Model("base", b)); err != nil {
		return false, err
	}
	for _, d := range fingerprint.Compare(x, y) {
		if d.Part == "base."+fingerprint.Weights || d.Part == "base."+fingerprint.Config {
			return false, nil
		}
	}
	return true, nil
}

// note adds a note unless it is empty.
func (p *LoadedModel) note(text string) {
	if text != "" {
		p.Notes = append(p.Notes, text)
	}
}
