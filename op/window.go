package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// window is the geometry that convolutions and pools share: a kernel that slides
// over the spatial axes of [N,C,spatial...]. Output o and kernel tap t of an axis
// meet at the input o·stride - begin + t·dilation.
type window struct {
	kernel, stride, dilation, begin, end, in, out []int
}

// maxWindow bounds every attribute of a window, so that sums of them cannot overflow.
const maxWindow = math.MaxInt32

// newWindow reads strides, dilations, pads and auto_pad of n. in is the spatial
// shape, kernel the spatial kernel shape. ceil rounds the output size up, but drops
// a last window that would start in the padding behind the input.
func newWindow(n *graph.Node, in, kernel []int, ceil bool) (*window, error) {
	r := len(in)
	w := &window{kernel: kernel, in: in, begin: make([]int, r), end: make([]int, r), out: make([]int, r)}
	for _, k := range kernel {
		if k < 1 || k > maxWindow {
			return nil, Errorf(n, "kernel shape %v is out of range", kernel)
		}
	}
	list := func(name string, length, low, def int) ([]int, error) {
		v := n.Ints(name)
		s := make([]int, length)
		for i := range s {
			s[i] = def
		}
		if v == nil {
			return s, nil
		}
		if len(v) != length {
			return nil, Errorf(n, "%s has %d entries, want %d", name, len(v), length)
		}
		for i, x := range v {
			if x < int64(low) || x > maxWindow {
				return nil, Errorf(n, "%s %v: %d is out of range", name, v, x)
			}
			s[i] = int(x)
		}
		return s, nil
	}
	var err error
	if w.stride, err = list("strides", r, 1, 1); err != nil {
		return nil, err
	}
	if w.dilation, err = list("dilations", r, 1, 1); err != nil {
		return nil, err
	}
	auto := n.Str("auto_pad", "NOTSET")
	switch auto {
	case "NOTSET", "":
		p, err := list("pads", 2*r, 0, 0)
		if err != nil {
			return nil, err
		}
		copy(w.begin, p[:r])
		copy(w.end, p[r:])
	case "VALID":
	case "SAME_UPPER", "SAME_LOWER":
		for a := range r {
			out := ceilDiv(in[a], w.stride[a])
			total := max((out-1)*w.stride[a]+w.extent(a)-in[a], 0)
			w.begin[a] = total / 2
			if auto == "SAME_LOWER" {
				w.begin[a] = total - total/2
			}
			w.end[a] = total - w.begin[a]
			w.out[a] = out
		}
		return w, nil
	default:
		return nil, Errorf(n, "auto_pad %q is not known", auto)
	}
	for a := range r {
		room := in[a] + w.begin[a] + w.end[a] - w.extent(a)
		if room < 0 {
			return nil, Errorf(n, "axis %d: the kernel covers %d, the padded input has only %d", a+2, w.extent(a), in[a]+w.begin[a]+w.end[a])
		}
		w.out[a] = room/w.stride[a] + 1
		if ceil && room%w.stride[a] != 0 && w.out[a]*w.stride[a] < in[a]+w.begin[a] {
			w.out[a]++
		}
	}
	return w, nil
}

// extent is how many inputs the dilated kernel spans on axis a.
func (w *window) extent(a int) int { return (w.kernel[a]-1)*w.dilation[a] + 1 }

// segment is n outputs in a row from out on, whose inputs begin at in and are the
// last axis' stride apart. Both are offsets within one channel of one image.
type segment struct{ out, in, n int }

// segments lists the outputs that kernel tap tap meets inside the input, appending
// to buf[:0]. The segments of one tap never share an output or an input.
func (w *window) segments(tap []int, buf []segment) []segment {
	buf = buf[:0]
	r := len(tap)
	lo, hi := make([]int, r), make([]int, r)
	for a, t := range tap {
		shift := w.begin[a] - t*w.dilation[a] // input = output·stride - shift
		lo[a] = max(0, ceilDiv(shift, w.stride[a]))
		hi[a] = min(w.out[a], floorDiv(w.in[a]-1+shift, w.stride[a])+1)
		if lo[a] >= hi[a] {
			return buf
		}
	}
	at := append([]int(nil), lo...)
	for {
		s := segment{n: hi[r-1] - lo[r-1]}
		for a := range r {
			s.out = s.out*w.out[a] + at[a]
			s.in = s.in*w.in[a] + at[a]*w.stride[a] - w.begin[a] + tap[a]*w.dilation[a]
		}
		buf = append(buf, s)
		a := r - 2
		for ; a >= 0; a-- {
			if at[a]++; at[a] < hi[a] {
				break
			}
			at[a] = lo[a]
		}
		if a < 0 {
			return buf
		}
	}
}

// taps is the number of kernel taps.
func (w *window) taps() int { return tensor.Shape(w.kernel).NumElements() }

// step moves the index vector at to its row-major successor below limit; false
// when it has wrapped to zero.
func step(at, limit []int) bool {
	for a := len(at) - 1; a >= 0; a-- {
		if at[a]++; at[a] < limit[a] {
			return true
		}
		at[a] = 0
	}
	return false
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func ceilDiv(a, b int) int { return -floorDiv(-a, b) }

// wide is the data of a float tensor as float64: a copy, or the tensor's own where
// it is float64. nil for nil.
func wide(t *tensor.Tensor) []float64 {
	if t == nil {
		return nil
	}
	if t.DType == tensor.Float64 {
		return tensor.Of[float64](t)
	}
	w := make([]float64, t.Len())
	tensor.Convert(tensor.From(w, len(w)), t)
	return w
}

// narrow rounds float64 results into t: to float32 first, and from there to a
// small float, which therefore is the float32 result rounded once. nil t is skipped.
func narrow(t *tensor.Tensor, v []float64) {
	switch {
	case t == nil:
	case t.DType.IsSmallFloat():
		f := tensor.New(tensor.Float32, t.Shape...)
		tensor.Convert(f, tensor.From(v, t.Shape...))
		tensor.Convert(t, f)
	default:
		tensor.Convert(t, tensor.From(v, t.Shape...))
	}
}

// oneType checks that the inputs listed, where present, share one element type.
func oneType(n *graph.Node, inputs ...int) error {
	first := -1
	for _, i := range inputs {
		v := n.Input(i)
		if v == nil {
			continue
		}
		if first < 0 {
			first = i
		} else if v.Type.DType != n.In[first].Type.DType {
			return Errorf(n, "input %d is %v, input %d is %v", i, v.Type.DType, first, n.In[first].Type.DType)
		}
	}
	return nil
}
