package zoo

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"whit/tensor"
)

// dlib serialises a network as a stream without an index, whose grammar is the network's
// C++ type. Integers are a byte, the number of bytes that follow in its low four bits
// and the sign in its highest, and these bytes, little endian; floats are two integers,
// mantissa and exponent of two; text is its length and its bytes; a truth value is the
// letter 0 or 1; a tensor is the integer 2, four sizes, and little-endian float32s.
// Nested layers write their versions from the outermost on, then their contents from the
// innermost on: what remains is a list of layers in the order in which they run.
//
//	version loss | versions... input | layer layer ... layer
//
// Every layer is a name, what it has, three truth values and three tensors, empty in a
// network that was saved for use.

// datLayer is a layer with parameters, or its kind alone.
type datLayer struct {
	kind   string // con_4, affine_, relu_, max_pool_2, avg_pool_2, add_prev_, fc_2
	nums   []int64
	params []float32
}

// Limits of a stream.
const (
	maxLayers = 4096
	maxName   = 64
)

type datReader struct {
	b    []byte // what is left
	size int
	err  error // the first; reads after it give zeros
}

func (r *datReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: byte %d: %s", ErrCorrupt, r.size-len(r.b), fmt.Sprintf(format, args...))
	}
}

func (r *datReader) take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.b)) {
		r.fail("%d bytes wanted, %d there", n, len(r.b))
	}
	if r.err != nil {
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *datReader) int() int64 {
	c := r.take(1)
	if c == nil {
		return 0
	}
	n := int(c[0] & 15)
	if c[0]&0x70 != 0 || n < 1 || n > 8 {
		r.fail("0x%02x does not begin an integer", c[0])
		return 0
	}
	var b [8]byte
	copy(b[:], r.take(n))
	v := binary.LittleEndian.Uint64(b[:])
	if v > math.MaxInt64 {
		r.fail("an integer of 64 bits")
		return 0
	}
	if c[0]&0x80 != 0 {
		return -int64(v)
	}
	return int64(v)
}

func (r *datReader) float() float64 {
	m, e := r.int(), r.int()
	return math.Ldexp(float64(m), int(min(max(e, -5000), 5000)))
}

func (r *datReader) flag() bool {
	c := r.take(1)
	if c != nil && c[0] != '0' && c[0] != '1' {
		r.fail("0x%02x is no truth value", c[0])
	}
	return c != nil && c[0] == '1'
}

func (r *datReader) text() string {
	n := r.int()
	if n < 0 || n > maxName {
		r.fail("a name of %d bytes", n)
		return ""
	}
	return string(r.take(int(n)))
}

func (r *datReader) want(what string, v ...int64) {
	for _, w := range v {
		if got := r.int(); got != w {
			r.fail("%s: %d, want %d", what, got, w)
		}
	}
}

// tensor reads a tensor and returns its elements.
func (r *datReader) tensor() []float32 {
	r.want("version of a tensor", 2)
	n := int64(1)
	for range 4 {
		d := r.int()
		if d < 0 || d > 0 && n > int64(len(r.b))/d {
			r.fail("a tensor of %d times %d elements, %d bytes are left", n, d, len(r.b))
			return nil
		}
		n *= d
	}
	b := r.take(int(n) * 4)
	if b == nil {
		return nil
	}
	out := make([]float32, n)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

// alias reads the shape of a part of a tensor.
func (r *datReader) alias() (d [4]int64) {
	r.want("version of a part", 1)
	for i := range d {
		d[i] = r.int()
	}
	return d
}

func (r *datReader) wantAlias(what string, d ...int64) {
	if got := r.alias(); got != [4]int64(d) {
		r.fail("%s: shape %v, want %v", what, got, d)
	}
}

// datNet is what a stream holds.
type datNet struct {
	layers []datLayer
	side   int64      // height and width of the picture
	mean   [3]float64 // subtracted from its red, green and blue
}

// readDat reads a network that begins with a picture of red, green and blue and ends in
// a metric loss.
func readDat(b []byte) (datNet, error) {
	r := &datReader{b: b, size: len(b)}
	var n datNet
	r.want("version of the loss", 1)
	if s := r.text(); s != "loss_metric_2" {
		r.fail("the loss is %q, want loss_metric_2", s)
	}
	r.float() // margin
	r.float() // distance threshold
	// The innermost layer is the only one of version 3; tags and skips have version 1.
	for depth := 0; r.err == nil; depth++ {
		v := r.int()
		if v == 3 {
			break
		}
		if v != 1 && v != 2 || depth > maxLayers {
			r.fail("version %d of a layer, or more than %d layers", v, maxLayers)
		}
	}
	if s := r.text(); s != "input_rgb_image_sized" {
		r.fail("the input is %q, want input_rgb_image_sized", s)
	}
	for i := range n.mean {
		n.mean[i] = r.float()
	}
	n.side = r.int()
	r.want("width of the input", n.side)
	for r.err == nil && len(r.b) > 0 {
		if len(n.layers) >= maxLayers {
			r.fail("more than %d layers", maxLayers)
		}
		n.layers = append(n.layers, r.layer(len(n.layers) == 0))
	}
	return n, r.err
}

// layer reads a layer; the first is version 3, which has one number more.
func (r *datReader) layer(first bool) datLayer {
	l := datLayer{kind: r.text()}
	multipliers := func() { // of learning rate and weight decay, of weights and biases
		for range 4 {
			r.float()
		}
	}
	nums := func(n int) {
		for range n {
			l.nums = append(l.nums, r.int())
		}
	}
	switch l.kind {
	case "con_4":
		l.params = r.tensor()
		nums(7) // filters, height, width, stride down, stride right, padding down, padding right
		f := r.alias()
		l.nums = append(l.nums, f[1]) // channels
		if r.err == nil && f != [4]int64{l.nums[0], f[1], l.nums[1], l.nums[2]} {
			r.fail("filters of shape %v for a convolution %v", f, l.nums)
		}
		r.wantAlias("biases", 1, l.nums[0], 1, 1)
		multipliers()
	case "affine_":
		l.params = r.tensor()
		f := r.alias()
		l.nums = append(l.nums, f[1])
		r.wantAlias("offsets", f[:]...)
		r.want("mode of an affine layer, which is for convolutions", 0)
	case "max_pool_2", "avg_pool_2":
		nums(6) // height, width, stride down, stride right, padding down, padding right
	case "fc_2":
		nums(2) // outputs, inputs
		l.params = r.tensor()
		if r.err == nil {
			r.wantAlias("weights", l.nums[1], l.nums[0], 1, 1)
		}
		r.wantAlias("no biases", 0, 0, 0, 0)
		r.want("mode of a fully connected layer, which has no biases", 1)
		multipliers()
	case "relu_", "add_prev_":
	default:
		r.fail("a layer of kind %q is not known", l.kind)
	}
	for range 3 {
		r.flag()
	}
	for range 3 {
		if t := r.tensor(); len(t) > 0 {
			r.fail("a network in training, with gradients")
		}
	}
	if first {
		r.want("pictures a sample", 1)
	}
	return l
}

// readDlibFace reads dlib's own file of the face recognition network.
func readDlibFace(b []byte) (*given, error) {
	n, err := readDat(b)
	if err != nil {
		return nil, err
	}
	if n.side != 150 {
		return nil, fmt.Errorf("%w: pictures of %d pixels, want 150", ErrCorrupt, n.side)
	}
	s := &given{w: map[string]*tensor.Tensor{}}
	next := func(kind string, nums ...int64) []float32 {
		if len(n.layers) == 0 || n.layers[0].kind != kind || !slices.Equal(n.layers[0].nums, nums) {
			if err == nil {
				err = fmt.Errorf("%w: want the layer %s %v", ErrCorrupt, kind, nums)
				if len(n.layers) > 0 {
					err = fmt.Errorf("%w, found %s %v", err, n.layers[0].kind, n.layers[0].nums)
				}
			}
			return nil
		}
		l := n.layers[0]
		n.layers = n.layers[1:]
		return l.params
	}
	put := func(name string, w []float32, shape ...int) []float32 {
		k := tensor.Shape(shape).NumElements()
		if len(w) < k {
			if err == nil {
				err = fmt.Errorf("%w: %q has %d parameters, want %d", ErrCorrupt, name, len(w), k)
			}
			return nil
		}
		s.w[name] = tensor.From(w[:k:k], shape...)
		return w[k:]
	}
	affine := func(name string, n, c, k, stride, pad int) {
		w := next("con_4", int64(n), int64(k), int64(k), int64(stride), int64(stride), int64(pad), int64(pad), int64(c))
		put(name+".conv.bias", put(name+".conv.weight", w, n, c, k, k), n)
		w = next("affine_", int64(n))
		put(name+".scale.bias", put(name+".scale.weight", w, n), n)
	}
	affine("conv32_down", 32, 3, 7, 2, 0)
	next("relu_")
	next("max_pool_2", 3, 3, 2, 2, 0, 0)
	c := 32
	for _, l := range faceBlocks {
		stride, pad := 1, 1
		if l.down {
			stride, pad = 2, 0
		}
		affine(l.name+".conv1", l.n, c, 3, stride, pad)
		next("relu_")
		affine(l.name+".conv2", l.n, l.n, 3, 1, 1)
		if c = l.n; l.down {
			next("avg_pool_2", 2, 2, 2, 2, 0, 0)
		}
		next("add_prev_")
		next("relu_")
	}
	next("avg_pool_2", 0, 0, 1, 1, 0, 0)
	put("fc", next("fc_2", 128, 256), 256, 128)
	if err == nil && len(n.layers) > 0 {
		err = fmt.Errorf("%w: a layer %s behind the last", ErrCorrupt, n.layers[0].kind)
	}
	return s, err
}
