//go:build !unix

package cpu

func mapMemory(n int) ([]byte, func() error, error) {
	return heapMemory(n), nil, nil
}
