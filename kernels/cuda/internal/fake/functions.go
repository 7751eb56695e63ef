//go:build !nogpu && linux

package fake

import (
	"fmt"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/ptxsim"
)

// function is one of libcuda's.
type function struct {
	name string
	call any
}

var functions = []function{
	{"cuInit", cuInit}, {"cuDriverGetVersion", cuDriverGetVersion}, {"cuGetErrorName", cuGetErrorName},
	{"cuGetErrorString", cuGetErrorString},
	{"cuDeviceGetCount", cuDeviceGetCount}, {"cuDeviceGet", cuDeviceGet}, {"cuDeviceGetName", cuDeviceGetName},
	{"cuDeviceGetAttribute", cuDeviceGetAttribute}, {"cuDeviceGetUuid", cuDeviceGetUuid},
	{"cuDeviceGetUuid_v2", cuDeviceGetUuidMIG},
	{"cuDeviceTotalMem_v2", cuDeviceTotalMem},
	{"cuDeviceGetDefaultMemPool", cuDeviceGetDefaultMemPool}, {"cuMemPoolSetAttribute", cuMemPoolSetAttribute},
	{"cuMemPoolGetAttribute", cuMemPoolGetAttribute}, {"cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain},
	{"cuDevicePrimaryCtxRelease_v2", cuDevicePrimaryCtxRelease}, {"cuCtxSetCurrent", cuCtxSetCurrent},
	{"cuMemGetInfo_v2", cuMemGetInfo},
	{"cuMemAllocAsync", cuMemAllocAsync}, {"cuMemFreeAsync", cuMemFreeAsync}, {"cuMemHostAlloc", cuMemHostAlloc},
	{"cuMemFreeHost", cuMemFreeHost},
	{"cuMemcpyHtoDAsync_v2", cuMemcpyHtoD}, {"cuMemcpyDtoHAsync_v2", cuMemcpyDtoH},
	{"cuMemcpyDtoDAsync_v2", cuMemcpyDtoD},
	{"cuMemsetD8Async", cuMemsetD8}, {"cuStreamCreate", cuStreamCreate}, {"cuStreamDestroy_v2", cuStreamDestroy},
	{"cuStreamSynchronize", cuStreamSynchronize}, {"cuEventCreate", cuEventCreate},
	{"cuEventDestroy_v2", cuEventDestroy},
	{"cuEventRecord", cuEventRecord}, {"cuEventSynchronize", cuEventSynchronize},
	{"cuModuleLoadDataEx", cuModuleLoadDataEx},
	{"cuModuleUnload", cuModuleUnload}, {"cuModuleGetFunction", cuModuleGetFunction},
	{"cuFuncSetAttribute", cuFuncSetAttribute},
	{"cuFuncGetAttribute", cuFuncGetAttribute},
	{"cuLaunchKernel", cuLaunchKernel}, {"cuStreamBeginCapture_v2", cuStreamBeginCapture},
	{"cuStreamEndCapture", cuStreamEndCapture},
	{"cuGraphInstantiateWithFlags", cuGraphInstantiate}, {"cuGraphDestroy", cuGraphDestroy},
	{"cuGraphLaunch", cuGraphLaunch},
	{"cuGraphExecDestroy", cuGraphExecDestroy},
}

// forget removes an object from the list of those that exist. It returns missing where there is no such object.
func forget[T any](all map[uintptr]T, handle, missing uintptr) uintptr {
	if _, ok := all[handle]; !ok {
		return missing
	}
	delete(all, handle)
	return Success
}

// ask does f unless the call is to fail.
func ask(name string, f func(m *Machine) uintptr) uintptr {
	m, r := enter(name)
	if r != 0 {
		return r
	}
	defer m.mu.Unlock()
	if !m.ready && name != "Init" && name != "DriverGetVersion" && name != "GetErrorName" && name != "GetErrorString" {
		return uninitialised
	}
	if unsafeInCapture[name] {
		if r := m.forbidThread(); r != 0 {
			return r
		}
	}
	return f(m)
}

func cuInit(flags uintptr) uintptr {
	return ask("Init", func(m *Machine) uintptr {
		m.ready = m.Init == 0
		m.install("Init")
		return uintptr(m.Init)
	})
}

func cuDriverGetVersion(v *int32) uintptr {
	return ask("DriverGetVersion", func(m *Machine) uintptr { *v = int32(m.Version); return 0 })
}

var errorName, errorText = []byte("CUDA_ERROR_FAKE\x00"), []byte("the fake driver was asked to fail\x00")

func cuGetErrorName(code uintptr, p **byte) uintptr {
	*p = &errorName[0]
	return 0
}

func cuGetErrorString(code uintptr, p **byte) uintptr {
	*p = &errorText[0]
	return 0
}

func cuDeviceGetCount(n *int32) uintptr {
	return ask("DeviceGetCount", func(m *Machine) uintptr { *n = int32(len(m.GPUs)); return 0 })
}

func cuDeviceGet(dev *int32, i uintptr) uintptr {
	return ask("DeviceGet", func(m *Machine) uintptr { *dev = int32(i); return 0 })
}

func cuDeviceGetName(p *byte, n, dev uintptr) uintptr {
	return ask("DeviceGetName", func(m *Machine) uintptr {
		copy(unsafe.Slice(p, n), m.GPUs[dev].Name+"\x00")
		return 0
	})
}

func cuDeviceGetAttribute(v *int32, attribute, dev uintptr) uintptr {
	return ask("DeviceGetAttribute", func(m *Machine) uintptr {
		g := m.GPUs[dev]
		*v = map[uintptr]int32{16: 4, 75: int32(g.Major), 76: int32(g.Minor), 97: 99 << 10, 115: 1}[attribute]
		return 0
	})
}

func cuDeviceGetUuid(p *byte, dev uintptr) uintptr {
	return ask("DeviceGetUuid", func(m *Machine) uintptr { *p = byte(dev); return 0 })
}

func cuDeviceGetUuidMIG(p *byte, dev uintptr) uintptr {
	return ask("DeviceGetUuidMIG", func(m *Machine) uintptr {
		*p = byte(dev)
		if m.GPUs[dev].MIG {
			*p = 0xee
		}
		return 0
	})
}

func cuDeviceTotalMem(bytes *uint64, dev uintptr) uintptr {
	return ask("DeviceTotalMem", func(m *Machine) uintptr { *bytes = uint64(m.GPUs[dev].Memory); return 0 })
}

func cuDeviceGetDefaultMemPool(pool *uintptr, dev uintptr) uintptr {
	return ask("DeviceGetDefaultMemPool", func(m *Machine) uintptr { *pool = 1 + dev; return 0 })
}

func cuMemPoolSetAttribute(pool, attribute uintptr, v *uint64) uintptr {
	return ask("MemPoolSetAttribute", func(*Machine) uintptr { return 0 })
}

func cuMemPoolGetAttribute(pool, attribute uintptr, v *uint64) uintptr {
	return ask("MemPoolGetAttribute", func(*Machine) uintptr { *v = 0; return 0 })
}

func cuDevicePrimaryCtxRetain(ctx *uintptr, dev uintptr) uintptr {
	return ask("DevicePrimaryCtxRetain", func(m *Machine) uintptr {
		m.opened[int(dev)]++
		m.install("DevicePrimaryCtxRetain")
		*ctx = 1 + dev
		return 0
	})
}

func cuDevicePrimaryCtxRelease(dev uintptr) uintptr {
	return ask("DevicePrimaryCtxRelease", func(m *Machine) uintptr {
		m.opened[int(dev)]--
		// nothing could be freed: the memory goes with the context
		if g := m.GPUs[dev]; g.bad != 0 && m.opened[int(dev)] == 0 {
			g.mem, g.used, g.size = ptxsim.Memory{}, 0, map[uint64]int64{}
		}
		return 0
	})
}

func cuMemGetInfo(free, total *uint64) uintptr {
	return ask("MemGetInfo", func(m *Machine) uintptr {
		g := m.gpu()
		if g == nil {
			return InvalidContext
		}
		*free, *total = uint64(g.Memory-g.used), uint64(g.Memory)
		return 0
	})
}

func cuMemAllocAsync(p *uint64, bytes, s uintptr) uintptr {
	return ask("MemAllocAsync", func(m *Machine) uintptr {
		return m.now(s, func(g *GPU) uintptr {
			if bytes == 0 {
				return InvalidValue
			}
			if g.used+int64(bytes) > g.Memory {
				return OutOfMemory
			}
			*p = g.mem.Alloc(int(bytes))
			g.used += int64(bytes)
			g.size[*p] = int64(bytes)
			return 0
		})
	})
}

// result is what an error of the simulator is to a program.
func (m *Machine) result(err error) int {
	if err == nil {
		return Success
	}
	if m.Fault == nil {
		m.Fault = err
	}
	return IllegalAddress
}

func cuMemFreeAsync(p, s uintptr) uintptr {
	return ask("MemFreeAsync", func(m *Machine) uintptr {
		if x := m.streams[s]; x != nil && x.capture != nil {
			return x.capture.forbid(InvalidValue) // only memory of the graph can be freed in it
		}
		return m.inStream(s, func(g *GPU) int {
			g.used -= g.size[uint64(p)]
			delete(g.size, uint64(p))
			return m.result(g.mem.Free(uint64(p)))
		})
	})
}

func cuMemHostAlloc(p *unsafe.Pointer, bytes, flags uintptr) uintptr {
	return ask("MemHostAlloc", func(m *Machine) uintptr {
		if m.gpu() == nil {
			return InvalidContext
		}
		b := make([]byte, bytes)
		*p = unsafe.Pointer(&b[0])
		m.pinned[uintptr(*p)] = b
		return 0
	})
}

func cuMemFreeHost(p uintptr) uintptr {
	return ask("MemFreeHost", func(m *Machine) uintptr { return forget(m.pinned, p, InvalidValue) })
}

// host is n bytes of pinned memory; nil if p is none. The real driver takes other memory too, but copies from it wait.
func (m *Machine) host(p, n uintptr) []byte {
	for base, b := range m.pinned {
		if p >= base && p-base+n <= uintptr(len(b)) {
			return b[p-base:][:n]
		}
	}
	return nil
}

func cuMemcpyHtoD(dst, src, n, s uintptr) uintptr {
	return ask("MemcpyHtoD", func(m *Machine) uintptr {
		from := m.host(src, n)
		if from == nil {
			return InvalidValue
		}
		return m.inStream(s, func(g *GPU) int {
			to, err := g.mem.Bytes(uint64(dst), int(n))
			copy(to, from)
			return m.result(err)
		})
	})
}

func cuMemcpyDtoH(dst, src, n, s uintptr) uintptr {
	return ask("MemcpyDtoH", func(m *Machine) uintptr {
		to := m.host(dst, n)
		if to == nil {
			return InvalidValue
		}
		return m.inStream(s, func(g *GPU) int {
			from, err := g.mem.Bytes(uint64(src), int(n))
			copy(to, from)
			return m.result(err)
		})
	})
}

func cuMemcpyDtoD(dst, src, n, s uintptr) uintptr {
	return ask("MemcpyDtoD", func(m *Machine) uintptr {
		return m.inStream(s, func(g *GPU) int {
			from, err := g.mem.Bytes(uint64(src), int(n))
			if err != nil {
				return m.result(err)
			}
			to, err := g.mem.Bytes(uint64(dst), int(n))
			copy(to, from)
			return m.result(err)
		})
	})
}

func cuMemsetD8(dst, value, n, s uintptr) uintptr {
	return ask("MemsetD8", func(m *Machine) uintptr {
		return m.inStream(s, func(g *GPU) int {
			to, err := g.mem.Bytes(uint64(dst), int(n))
			for i := range to {
				to[i] = byte(value)
			}
			return m.result(err)
		})
	})
}

func cuModuleLoadDataEx(module *uintptr, image *byte, options uintptr, keys, values unsafe.Pointer) uintptr {
	return ask("ModuleLoadDataEx", func(m *Machine) uintptr {
		if m.gpu() == nil {
			return InvalidContext
		}
		x, err := parse(cString(image))
		if err != nil {
			if m.Fault == nil {
				m.Fault = err
			}
			return invalidPTX
		}
		*module = m.handle()
		m.modules[*module] = x
		return 0
	})
}

// parsed keeps modules: tests load the same ones again and again.
var parsed = map[string]*ptxsim.Module{}

func parse(text string) (*ptxsim.Module, error) {
	if m := parsed[text]; m != nil {
		return m, nil
	}
	m, err := ptxsim.Parse(text)
	if err == nil {
		parsed[text] = m
	}
	return m, err
}

func cString(p *byte) string {
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}

func cuModuleUnload(module uintptr) uintptr {
	return ask("ModuleUnload", func(m *Machine) uintptr { delete(m.modules, module); return 0 })
}

func cuModuleGetFunction(f *uintptr, module uintptr, name *byte) uintptr {
	return ask("ModuleGetFunction", func(m *Machine) uintptr {
		k := m.modules[module].Kernels[cString(name)]
		if k == nil {
			return NotFound
		}
		*f = m.handle()
		m.funcs[*f] = k
		return 0
	})
}

func cuFuncSetAttribute(f, attribute, value uintptr) uintptr {
	return ask("FuncSetAttribute", func(m *Machine) uintptr { return 0 })
}

// cuFuncGetAttribute knows what the PTX says of a kernel. Registers are those of the interpreter, as many as the text
// names.
func cuFuncGetAttribute(v *int32, attribute, f uintptr) uintptr {
	return ask("FuncGetAttribute", func(m *Machine) uintptr {
		k := m.funcs[f]
		if k == nil {
			return InvalidHandle
		}
		*v = map[uintptr]int32{0: 1024, 1: int32(k.Shared), 4: int32(k.Registers()), 6: 80}[attribute]
		return 0
	})
}

// cuLaunchKernel takes parameters in one buffer only.
func cuLaunchKernel(f, x, y, z, threads, ty, tz, dynamic, s uintptr, params unsafe.Pointer, extra *[5]uintptr) uintptr {
	return ask("LaunchKernel", func(m *Machine) uintptr {
		k := m.funcs[f]
		if k == nil || ty != 1 || tz != 1 || extra == nil || extra[0] != 1 || extra[2] != 2 || extra[4] != 0 {
			return InvalidValue
		}
		size := **(**uintptr)(unsafe.Pointer(&extra[3]))
		m.Launches[k.Name]++
		block := append([]byte(nil), unsafe.Slice(*(**byte)(unsafe.Pointer(&extra[1])), size)...)
		grid := ptxsim.Grid{X: int(x), Y: int(y), Z: int(z), Threads: int(threads), Dynamic: int(dynamic)}
		return m.inStream(s, func(g *GPU) int {
			if err := k.Run(&g.mem, grid, block); err != nil {
				return m.result(fmt.Errorf("%s: %w", k.Name, err))
			}
			return 0
		})
	})
}
