// Package hub gets models and data sets from the Hugging Face hub, or from a server that answers as it does, into the
// cache that Python's huggingface_hub uses too: what one of them has downloaded, the other one finds.
//
//	cache, err := hub.FromEnv()
//	dir, err := cache.Snapshot(hub.Repo{Name: "Qwen/Qwen3-0.6B"}, "")   // no network
//	got, err := hub.Pull(ctx, cache, hub.PullOptions{Repo: hub.Repo{Name: "Qwen/Qwen3-0.6B"}})
//
// The layout of the cache is
//
//	models--org--name/refs/main                      the commit of a branch or tag
//	models--org--name/snapshots/COMMIT/config.json   a relative symbolic link to a blob
//	models--org--name/blobs/DIGEST                   a file: by SHA-256 if it is large, by its Git SHA-1 if small
//	models--org--name/blobs/DIGEST.incomplete        the first bytes of one that is being downloaded
//	.locks/models--org--name/DIGEST.lock             held by the process that downloads it
package hub

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Settings are what the environment variables of huggingface_hub say.
type Settings struct {
	// Endpoint is the address of the hub, without a slash at its end: HF_ENDPOINT.
	Endpoint string
	// Token is sent to the hub and to no other host: HF_TOKEN, or the file that HF_TOKEN_PATH or HF_HOME names; "" is
	// none.
	Token string
	// Cache is the folder of the cache: HF_HUB_CACHE, or hub in HF_HOME.
	Cache string
	// Offline forbids the network: HF_HUB_OFFLINE.
	Offline bool
	// Timeout is how long a server may be silent: HF_HUB_DOWNLOAD_TIMEOUT, in seconds.
	Timeout time.Duration
}

const (
	defaultEndpoint = "https://huggingface.co"
	defaultTimeout  = 30 * time.Second
)

// FromEnv reads the settings.
func FromEnv() (*Settings, error) {
	s := &Settings{Endpoint: strings.TrimRight(os.Getenv("HF_ENDPOINT"), "/"), Timeout: defaultTimeout}
	if s.Endpoint == "" {
		s.Endpoint = defaultEndpoint
	}
	if u, err := url.Parse(s.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("reading HF_ENDPOINT: it is no address of a server: write https://HOST")
	}
	if text := os.Getenv("HF_HUB_DOWNLOAD_TIMEOUT"); text != "" {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n > 0 && n < 1e6) {
			return nil, fmt.Errorf("reading HF_HUB_DOWNLOAD_TIMEOUT: %q is no number of seconds above 0", text)
		}
		s.Timeout = time.Duration(n * float64(time.Second))
	}
	home, err := home()
	if err != nil {
		return nil, err
	}
	if s.Cache = expand(first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")); s.Cache == "" {
		s.Cache = filepath.Join(home, "hub")
	}
	s.Offline = yes("HF_HUB_OFFLINE") || yes("TRANSFORMERS_OFFLINE")
	if !yes("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
		if s.Token, err = token(home); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// home is the folder that HF_HOME names.
func home() (string, error) {
	if dir := expand(os.Getenv("HF_HOME")); dir != "" {
		return dir, nil
	}
	if dir := expand(os.Getenv("XDG_CACHE_HOME")); dir != "" {
		return filepath.Join(dir, "huggingface"), nil
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("looking for the Hugging Face cache: %w: set HF_HOME to a folder", err)
	}
	return filepath.Join(user, ".cache", "huggingface"), nil
}

// token is the token of the user, "" if there is none.
func token(home string) (string, error) {
	if t := strings.TrimSpace(first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")); t != "" {
		return printable("HF_TOKEN", t)
	}
	path := expand(os.Getenv("HF_TOKEN_PATH"))
	if path == "" {
		path = filepath.Join(home, "token")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil // there is no login
	}
	return printable(path, strings.TrimSpace(string(text)))
}

// printable refuses a token that no header can hold. The error does not show it.
func printable(where, token string) (string, error) {
	for _, r := range token {
		if r <= ' ' || r > '~' {
			return "", fmt.Errorf("reading the token of %s: it has a blank or a character that no token has: copy it "+
				"again", where)
		}
	}
	return token, nil
}

// first is the value of the first variable that has one.
func first(names ...string) string {
	for _, name := range names {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return ""
}

func yes(name string) bool {
	switch strings.ToUpper(os.Getenv(name)) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// expand replaces ~ and $NAME in a path.
func expand(path string) string {
	path = os.ExpandEnv(path)
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		if user, err := os.UserHomeDir(); err == nil {
			return user + rest
		}
	}
	return path
}
