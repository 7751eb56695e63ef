package page

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// browser is a headless Chromium, driven by the W3C's WebDriver protocol.
type browser struct {
	t   *testing.T
	url string // of the session
}

// Keys of WebDriver.
const (
	keyEnter  = "\ue007"
	keyShift  = "\ue008"
	keyAlt    = "\ue00a"
	keyEscape = "\ue00c"
	keyUp     = "\ue013"
	keyTab    = "\ue004"
)

// session starts one browser for all tests, which each have an origin of their own.
var session = sync.OnceValues(startBrowser)

// stopBrowser ends the browser of session.
var stopBrowser = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	stopBrowser()
	os.Exit(code)
}

// newBrowser is the browser for a test, which is skipped where there is no chromedriver.
func newBrowser(t *testing.T) *browser {
	url, err := session()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("skipped: there is no chromedriver here (Debian's packages chromium and chromium-driver): " +
			"the page is not tried in a browser")
	}
	require.NoError(t, err)
	b := &browser{t: t, url: url}
	b.complaints() // those of earlier tests
	return b
}

// startBrowser starts chromedriver and Chromium, and gives the address of their session.
func startBrowser() (url string, err error) {
	driver, err := exec.LookPath("chromedriver")
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return "", err
	}
	c := exec.Command(driver, fmt.Sprintf("--port=%d", port))
	if err := c.Start(); err != nil {
		return "", err
	}
	b := &browser{url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	stopBrowser = func() {
		if q, err := http.NewRequest(http.MethodDelete, url, nil); err == nil {
			if resp, err := http.DefaultClient.Do(q); err == nil { // ends Chromium
				_ = resp.Body.Close()
			}
		}
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(b.url + "/status")
		if err == nil {
			_ = resp.Body.Close()
			break
		}
		if time.Now().After(end) {
			return "", fmt.Errorf("chromedriver does not answer: %w", err)
		}
	}
	var made struct{ SessionID string }
	err = b.try(&made, "/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"goog:chromeOptions": map[string]any{"args": []string{"--headless=new", "--no-sandbox", "--disable-gpu",
			"--hide-scrollbars"}}, "goog:loggingPrefs": map[string]string{"browser": "ALL"}}}})
	return b.url + "/session/" + made.SessionID, err
}

// into sends a command and reads its value.
func (b *browser) into(value any, path string, body any) {
	b.t.Helper()
	require.NoError(b.t, b.try(value, path, body))
}

func (b *browser) try(value any, path string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	resp, err := http.Post(b.url+path, "application/json", bytes.NewReader(text))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %.600s", path, raw)
	}
	return json.Unmarshal(raw, &struct{ Value any }{value})
}

// js runs a function body in the page and reads what it returns.
func (b *browser) js(value any, body string, args ...any) {
	b.t.Helper()
	b.into(value, "/execute/sync", map[string]any{"script": body, "args": append([]any{}, args...)})
}

// text is the visible text of the conversation.
func (b *browser) text() (s string) {
	b.t.Helper()
	b.js(&s, "return document.querySelector('main').innerText")
	return s
}

// until waits until an expression is true in the page.
func (b *browser) until(expression string) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var ok bool
		if b.js(&ok, "return Boolean("+expression+")"); ok {
			return
		}
		require.True(b.t, time.Now().Before(end), "%s does not become true; the page says: %s", expression, b.text())
	}
}

// keys types keys at whatever has the focus; modifiers are held down until the end.
func (b *browser) keys(keys string) {
	b.t.Helper()
	var actions, releases []map[string]string
	for _, k := range keys {
		actions = append(actions, map[string]string{"type": "keyDown", "value": string(k)})
		if up := (map[string]string{"type": "keyUp", "value": string(k)}); string(k) == keyAlt || string(k) == keyShift {
			releases = append(releases, up)
		} else {
			actions = append(actions, up)
		}
	}
	b.into(nil, "/actions", map[string]any{"actions": []any{map[string]any{"type": "key", "id": "keyboard",
		"actions": append(actions, releases...)}}})
}

// click clicks the first element that matches a selector.
func (b *browser) click(selector string) {
	b.t.Helper()
	var e map[string]string
	b.into(&e, "/element", map[string]string{"using": "css selector", "value": selector})
	for _, id := range e {
		b.into(nil, "/element/"+id+"/click", struct{}{})
	}
}

// cdp sends a command of Chromium's own protocol.
func (b *browser) cdp(command string, params map[string]any) {
	b.t.Helper()
	b.into(nil, "/goog/cdp/execute", map[string]any{"cmd": command, "params": params})
}

// look sets the width of the window, in CSS pixels, and the colour scheme.
func (b *browser) look(width, height int, scheme string) {
	b.t.Helper()
	b.cdp("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height,
		"deviceScaleFactor": 1, "mobile": width < 600})
	b.cdp("Emulation.setEmulatedMedia", map[string]any{"features": []any{
		map[string]string{"name": "prefers-color-scheme", "value": scheme}}})
}

// shot writes a screenshot into the folder ZEROSEARCH_SCREENSHOTS, if it is set.
func (b *browser) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("ZEROSEARCH_SCREENSHOTS")
	if dir == "" {
		return
	}
	resp, err := http.Get(b.url + "/screenshot")
	require.NoError(b.t, err)
	defer resp.Body.Close()
	var png struct{ Value string }
	require.NoError(b.t, json.NewDecoder(resp.Body).Decode(&png))
	raw, err := base64.StdEncoding.DecodeString(png.Value)
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), raw, 0o644))
}

// complaints are the errors that the browser's console has had since the last call.
func (b *browser) complaints() (out []string) {
	b.t.Helper()
	var log []struct{ Level, Message string }
	b.into(&log, "/se/log", map[string]string{"type": "browser"})
	for _, l := range log {
		if l.Level == "SEVERE" || l.Level == "WARNING" {
			out = append(out, l.Message)
		}
	}
	return out
}
