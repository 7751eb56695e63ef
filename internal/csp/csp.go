// Package csp writes parts of a Content-Security-Policy.
package csp

import (
	"crypto/sha256"
	"encoding/base64"
)

// Hash is the source expression, quotes included, that allows the inline script or style with exactly this text.
func Hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
