//go:build !unix

package usage

import "time"

func cpu() time.Duration { return 0 }
