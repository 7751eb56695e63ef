//go:build nogpu || !linux

package dist

import "time"

// openMPIGroup says that this build cannot join ranks.
func openMPIGroup(l launch, _ time.Duration, _ func(text string)) (Group, error) {
	return nil, l.err("and this build of zerosearch cannot join them: take one for Linux, built without the tag nogpu")
}
