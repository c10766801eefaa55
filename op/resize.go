package op

import (
	"maps"
	"math"

	"whit/graph"
	"whit/tensor"
)

// Resize samples x anew along the axes (default all). Inputs: x; roi, the starts and
// then the ends as fractions, for coordinate mode tf_crop_and_resize only; scales or
// sizes, one an axis, of which one is given (an empty vector counts as absent).
//
// It is separable: along each axis an output element is a weighted sum of input
// elements, computed in float64 and rounded once at the end; integers saturate. The
// weights are those of a filter around the output's place in input coordinates
// (mode linear: the triangle of radius 1, cubic: Keys' kernel of radius 2 with
// a = cubic_coeff_a, nearest: one element), stretched by 1/scale with antialias
// where the scale is below 1. What lies outside repeats the border, or with
// exclude_outside counts for nothing.
func init() {
	Register(Op{
		Name: "Resize", Infer: inferResize, Ref: refResize, Channels: channelsResize,
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			d := make([]*graph.Value, len(n.In))
			if grads[0] != nil {
				in := append([]*graph.Value{grads[0]}, n.In...)
				d[0] = g.Add(graph.Domain, "ResizeGrad", maps.Clone(n.Attrs), in...)
			}
			return d, nil
		},
	})
	// ResizeGrad is the transpose of Resize: inputs dy and then those of the Resize (of
	// x only the type is used), attributes as there.
	Register(Op{
		Domain: graph.Domain, Name: "ResizeGrad",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if len(n.In) < 2 || n.In[0] == nil || n.In[1] == nil {
				return nil, Errorf(n, "an input is missing")
			}
			ts, err := inferResize(tail(n))
			if need, ok := err.(*NeedValue); ok {
				return nil, &NeedValue{n, need.Input + 1}
			}
			if err != nil {
				return nil, err
			}
			if x := n.In[1].Type; !x.DType.IsFloat() || !n.In[0].Type.Equal(ts[0]) {
				return nil, Errorf(n, "dy is %v, want %v of floats", n.In[0].Type, ts[0])
			}
			return []tensor.Type{n.In[1].Type}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			if in[0].Len() == 0 {
				clear(out[0].Bytes())
				return nil
			}
			axes, err := resizeAxes(tail(n), in[1:])
			if err != nil {
				return err
			}
			d, s := wide(in[0]), in[0].Shape.Clone()
			for a := len(s) - 1; a >= 0; a-- {
				d = axes[a].transpose(d, s[:a].NumElements(), s[a+1:].NumElements())
				s[a] = axes[a].in
			}
			narrow(out[0], d)
			return nil
		},
	})
}

// tail is n without its first input.
func tail(n *graph.Node) *graph.Node {
	m := *n
	m.In = n.In[1:]
	return &m
}

// resample is Resize along one axis: output o is the sum of weight w[k] times input
// at[k] for k from first[o] to first[o+1]; or, if there is none, the constant fill.
type resample struct {
	in, out int
	first   []int
	at      []int
	w       []float64
	fill    float64
}

// ResizeFrom says of a bound Resize which index of x each index of y copies, for every axis;
// nil where an output is anything else than a copy.
func ResizeFrom(n *graph.Node) [][]int {
	in := []*tensor.Tensor{{Type: n.In[0].Type}}
	for i := 1; i < len(n.In); i++ {
		v := n.In[i]
		if v != nil && !v.IsConst() {
			return nil
		}
		in = append(in, v.Tensor())
	}
	axes, err := resizeAxes(n, in)
	if err != nil || n.In[0].Type.Shape.NumElements() == 0 {
		return nil
	}
	from := make([][]int, len(axes))
	for a, r := range axes {
		for o := range r.out {
			k := r.first[o]
			if r.first[o+1] != k+1 || r.w[k] != 1 {
				return nil
			}
			from[a] = append(from[a], r.at[k])
		}
	}
	return from
}

// identity reports whether nothing changes along the axis.
func (r *resample) identity() bool {
	if r.in != r.out || len(r.at) != r.out {
		return false
	}
	for i, k := range r.at {
		if k != i || r.w[i] != 1 || r.first[i] != i {
			return false
		}
	}
	return true
}

// apply resamples the middle axis of x [outer,in,inner].
func (r *resample) apply(x []float64, outer, inner int) []float64 {
	if r.identity() {
		return x
	}
	y := make([]float64, outer*r.out*inner)
	for b := range outer {
		for o := range r.out {
			row := y[(b*r.out+o)*inner:][:inner]
			if r.first[o] == r.first[o+1] {
				for i := range row {
					row[i] = r.fill
				}
			}
			for k := r.first[o]; k < r.first[o+1]; k++ {
				src, w := x[(b*r.in+r.at[k])*inner:][:inner], r.w[k]
				for i, v := range src {
					row[i] += w * v
				}
			}
		}
	}
	return y
}

// transpose is apply's: from dy [outer,out,inner] to dx [outer,in,inner].
func (r *resample) transpose(dy []float64, outer, inner int) []float64 {
	if r.identity() {
		return dy
	}
	dx := make([]float64, outer*r.in*inner)
	for b := range outer {
		for o := range r.out {
			row := dy[(b*r.out+o)*inner:][:inner]
			for k := r.first[o]; k < r.first[o+1]; k++ {
				dst, w := dx[(b*r.in+r.at[k])*inner:][:inner], r.w[k]
				for i, v := range row {
					dst[i] += w * v
				}
			}
		}
	}
	return dx
}

// present is input i unless it is absent or empty.
func present(n *graph.Node, i int) *graph.Value {
	if v := n.Input(i); v != nil && v.Type.Shape.NumElements() > 0 {
		return v
	}
	return nil
}

func inferResize(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 1, 4); err != nil {
		return nil, err
	}
	x := n.In[0].Type
	mode := n.Str("mode", "nearest")
	switch mode {
	case "nearest", "linear", "cubic":
	default:
		return nil, Unsupported(n, "mode %q", mode)
	}
	allowed := Numbers
	if mode == "nearest" {
		allowed = AnyType
		if n.Int("antialias", 0) != 0 {
			return nil, Unsupported(n, "antialias with mode nearest")
		}
	}
	if err := Want(&graph.Node{Name: n.Name, Op: n.Op, Domain: n.Domain, In: n.In[:1]}, 1, 1, allowed...); err != nil {
		return nil, err
	}
	switch m := n.Str("nearest_mode", "round_prefer_floor"); m {
	case "round_prefer_floor", "round_prefer_ceil", "floor", "ceil":
	default:
		return nil, Unsupported(n, "nearest_mode %q", m)
	}
	axes, err := resizeList(n, len(x.Shape))
	if err != nil {
		return nil, err
	}
	switch m := n.Str("coordinate_transformation_mode", "half_pixel"); m {
	case "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric":
	case "tf_crop_and_resize":
		roi := n.Input(1)
		if roi == nil || !roi.Type.Shape.Equal(tensor.Shape{2 * len(axes)}) || !roi.Type.DType.IsFloat() || roi.Type.DType.Bits() < 16 {
			return nil, Errorf(n, "tf_crop_and_resize wants a roi of %d floats", 2*len(axes))
		}
	default:
		return nil, Unsupported(n, "coordinate_transformation_mode %q", m)
	}
	scales, sizes := present(n, 2), present(n, 3)
	if (scales == nil) == (sizes == nil) && len(axes) > 0 {
		return nil, Errorf(n, "want either scales or sizes")
	}
	for i, v := range []*graph.Value{nil, nil, scales, sizes} {
		if v == nil {
			continue
		}
		if !v.Type.Shape.Equal(tensor.Shape{len(axes)}) {
			return nil, Errorf(n, "input %d has shape %v, want [%d]", i, v.Type.Shape, len(axes))
		}
		if i == 2 && v.Type.DType != tensor.Float32 || i == 3 && v.Type.DType != tensor.Int64 {
			return nil, Unsupported(n, "input %d is %v, want float32 scales and int64 sizes", i, v.Type.DType)
		}
	}
	in := []*tensor.Tensor{nil, nil, nil, nil}
	for i, v := range []*graph.Value{nil, nil, scales, sizes} {
		if v != nil {
			if in[i], err = Value(n, i); err != nil {
				return nil, err
			}
		}
	}
	plan, err := resizeSizes(n, x.Shape, in)
	if err != nil {
		return nil, err
	}
	y := tensor.Type{DType: x.DType}
	for _, r := range plan {
		y.Shape = append(y.Shape, r.out)
	}
	return []tensor.Type{y}, nil
}

// resizeList is the attribute axes, or all axes.
func resizeList(n *graph.Node, rank int) ([]int, error) {
	v, given := n.Attrs["axes"].([]int64)
	if !given {
		axes := make([]int, rank)
		for i := range axes {
			axes[i] = i
		}
		return axes, nil
	}
	seen := make([]bool, rank)
	axes := []int{}
	for _, a := range v {
		if a < -int64(rank) || a >= int64(rank) {
			return nil, Errorf(n, "axis %d is out of range for rank %d", a, rank)
		}
		k := int(a)
		if k < 0 {
			k += rank
		}
		if seen[k] {
			return nil, Errorf(n, "axis %d is listed twice", a)
		}
		seen[k] = true
		axes = append(axes, k)
	}
	return axes, nil
}

// resizeSize is one axis: its sizes, the scale, and the length of the output before
// it was made whole. place is the axis' place in roi, -1 where it is not resized.
type resizeSize struct {
	in, out, place int
	scale, length  float64
	// An output is num/den inputs long: 1/scale, written as the quotient of the sizes
	// where these are given, so that places that are whole or halves come out so.
	num, den float64
	// byScale: the scale is what was given, in float32, and places are rounded as such.
	byScale bool
}

// inputs is how many inputs o outputs are long.
func (p resizeSize) inputs(o float64) float64 {
	if p.byScale {
		return float64(float32(o) / float32(p.den))
	}
	return o * p.num / p.den
}

// resizeSizes gives the axes' sizes from the inputs of the node: in[2] the scales or
// in[3] the sizes, already checked but for their values.
func resizeSizes(n *graph.Node, x tensor.Shape, in []*tensor.Tensor) ([]resizeSize, error) {
	axes, err := resizeList(n, len(x))
	if err != nil {
		return nil, err
	}
	plan := make([]resizeSize, len(x))
	for i, d := range x {
		plan[i] = resizeSize{in: d, out: d, place: -1, scale: 1, length: float64(d), num: 1, den: 1}
	}
	given := func(i int) *tensor.Tensor {
		if i < len(in) && in[i] != nil && in[i].Len() > 0 {
			return in[i]
		}
		return nil
	}
	for i, a := range axes {
		p := &plan[a]
		p.place = i
		if s := given(2); s != nil {
			f := tensor.Of[float32](s)[i]
			if !(f > 0) || f > 1<<30 {
				return nil, Errorf(n, "scale %g of axis %d is out of range", f, a)
			}
			// The product is float32, as in ONNX' shape inference: 0.7 times 10 is 7.
			if float32(p.in)*f >= 1<<40 {
				return nil, Errorf(n, "scale %g of axis %d is out of range", f, a)
			}
			p.scale, p.length = float64(f), float64(f)*float64(p.in)
			p.out, p.den, p.byScale = int(float32(p.in)*f), float64(f), true
		} else if s := given(3); s != nil {
			d := tensor.Of[int64](s)[i]
			if d < 0 || d > 1<<40 || d > 0 && p.in == 0 {
				return nil, Errorf(n, "size %d of axis %d (%d in x) is out of range", d, a, p.in)
			}
			p.out, p.length = int(d), float64(d)
			if p.in > 0 {
				p.scale, p.num, p.den = float64(d)/float64(p.in), float64(p.in), float64(d)
			}
		}
	}
	policy := n.Str("keep_aspect_ratio_policy", "stretch")
	switch policy {
	case "stretch":
		return plan, nil
	case "not_larger", "not_smaller":
	default:
		return nil, Unsupported(n, "keep_aspect_ratio_policy %q", policy)
	}
	if given(3) == nil || len(axes) == 0 {
		return plan, nil
	}
	scale := plan[axes[0]].scale
	for _, a := range axes {
		if policy == "not_larger" {
			scale = min(scale, plan[a].scale)
		} else {
			scale = max(scale, plan[a].scale)
		}
	}
	for _, a := range axes {
		p := &plan[a]
		p.scale, p.length, p.num, p.den = scale, scale*float64(p.in), 1, scale
		if p.length >= 1<<40 {
			return nil, Errorf(n, "axis %d would have %g elements", a, p.length)
		}
		p.out = int(p.length + 0.5)
	}
	return plan, nil
}

// resizeAxes makes the weights of every axis from the inputs of the node.
func resizeAxes(n *graph.Node, in []*tensor.Tensor) ([]*resample, error) {
	plan, err := resizeSizes(n, in[0].Shape, in)
	if err != nil {
		return nil, err
	}
	coordinate := n.Str("coordinate_transformation_mode", "half_pixel")
	var roi []float64
	places := 0
	if coordinate == "tf_crop_and_resize" {
		roi = wide(in[1])
		places = len(roi) / 2
	}
	var axes []*resample
	for _, p := range plan {
		start, end := 0.0, 1.0
		if roi != nil && p.place >= 0 {
			start, end = roi[p.place], roi[places+p.place]
		}
		r := &resample{in: p.in, out: p.out, first: make([]int, 1, p.out+1), fill: float64(n.Float("extrapolation_value", 0))}
		for o := range p.out {
			x := float64(o)
			if p.place >= 0 {
				x = p.source(coordinate, x, start, end)
			}
			if coordinate != "tf_crop_and_resize" || x >= 0 && x <= float64(p.in-1) {
				r.add(n, p, x)
			}
			r.first = append(r.first, len(r.at))
		}
		axes = append(axes, r)
	}
	return axes, nil
}

// source is the place in input coordinates of output o.
func (p resizeSize) source(mode string, o, start, end float64) float64 {
	last := float64(p.in - 1)
	switch mode {
	case "align_corners":
		if p.length == 1 {
			return 0
		}
		return o * last / (p.length - 1)
	case "asymmetric":
		return p.inputs(o)
	case "tf_crop_and_resize":
		if p.out == 1 {
			return start*last + (end-start)*last/2
		}
		return o*(end-start)*last/(p.length-1) + start*last
	case "pytorch_half_pixel":
		if p.out == 1 {
			return 0
		}
	case "half_pixel_symmetric":
		// The centre of the input goes to the centre of the whole output.
		return float64(p.in)/2*(1-float64(p.out)/p.length) + p.inputs(o+.5) - .5
	}
	return p.inputs(o+.5) - .5
}

// add appends the weights of an output at x in input coordinates.
func (r *resample) add(n *graph.Node, p resizeSize, x float64) {
	clamp := func(i float64) int { return int(min(max(i, 0), float64(r.in-1))) }
	mode := n.Str("mode", "nearest")
	if mode == "nearest" {
		low := math.Floor(x)
		var i float64
		switch n.Str("nearest_mode", "round_prefer_floor") {
		case "floor":
			i = low
		case "ceil":
			i = math.Ceil(x)
		case "round_prefer_ceil":
			i = math.Floor(x + .5)
		default:
			i = math.Ceil(x - .5)
		}
		r.at, r.w = append(r.at, clamp(i)), append(r.w, 1)
		return
	}
	radius, kernel := 1.0, func(t float64) float64 { return max(0, 1-math.Abs(t)) }
	if mode == "cubic" {
		// Keys: Cubic Convolution Interpolation for Digital Image Processing, 1981, equation (4).
		a := float64(n.Float("cubic_coeff_a", -.75))
		radius, kernel = 2, func(t float64) float64 {
			switch t = math.Abs(t); {
			case t <= 1:
				return ((a+2)*t-(a+3))*t*t + 1
			case t < 2:
				return ((a*t-5*a)*t+8*a)*t - 4*a
			}
			return 0
		}
	}
	squeeze, norm := 1.0, n.Int("exclude_outside", 0) != 0
	if n.Int("antialias", 0) != 0 {
		squeeze, norm = min(p.scale, 1), true
	}
	begin, sum := len(r.at), 0.0
	low, high := math.Ceil(x-radius/squeeze), math.Floor(x+radius/squeeze)
	if n.Int("exclude_outside", 0) != 0 {
		if low > float64(r.in-1) || high < 0 { // all of it is outside
			r.at, r.w = append(r.at, clamp(x)), append(r.w, 1)
			return
		}
		low, high = max(low, 0), min(high, float64(r.in-1))
	}
	for i := low; i <= high; i++ {
		w := kernel((i - x) * squeeze)
		if w == 0 {
			continue
		}
		sum += w
		if k := clamp(i); len(r.at) > begin && r.at[len(r.at)-1] == k {
			r.w[len(r.w)-1] += w
		} else {
			r.at, r.w = append(r.at, k), append(r.w, w)
		}
	}
	if norm && sum != 0 {
		for k := begin; k < len(r.w); k++ {
			r.w[k] /= sum
		}
	}
	if len(r.at) == begin { // every weight was zero
		r.at, r.w = append(r.at, clamp(x)), append(r.w, 1)
	}
}

func refResize(n *graph.Node, in, out []*tensor.Tensor) error {
	if out[0].Len() == 0 { // the other axes may still be of any size
		return nil
	}
	axes, err := resizeAxes(n, in)
	if err != nil {
		return err
	}
	if n.Str("mode", "nearest") == "nearest" {
		return resizeNearest(in[0], out[0], axes)
	}
	x, s := toFloat64(in[0]), in[0].Shape.Clone()
	for a, r := range axes {
		x = r.apply(x, s[:a].NumElements(), s[a+1:].NumElements())
		s[a] = r.out
	}
	if out[0].DType.IsFloat() {
		narrow(out[0], x)
	} else {
		saturate(out[0], x)
	}
	return nil
}

// resizeNearest copies elements of any type.
func resizeNearest(in, out *tensor.Tensor, axes []*resample) error {
	fill := tensor.New(out.DType, 1)
	if len(axes) > 0 {
		if out.DType.IsFloat() {
			narrow(fill, []float64{axes[0].fill})
		} else {
			saturate(fill, []float64{axes[0].fill})
		}
	}
	size := out.DType.Bits() / 8
	src, dst, strides := in.Bytes(), out.Bytes(), in.Shape.Strides()
	at := make([]int, len(axes))
	for o := range out.Len() {
		from, inside := 0, true
		for a, r := range axes {
			k := r.first[at[a]]
			if k == r.first[at[a]+1] {
				inside = false
				break
			}
			from += r.at[k] * strides[a]
		}
		if inside {
			copy(dst[o*size:(o+1)*size], src[from*size:])
		} else {
			copy(dst[o*size:(o+1)*size], fill.Bytes())
		}
		step(at, out.Shape)
	}
	return nil
}

// toFloat64 is the data of a tensor of numbers or bools.
func toFloat64(t *tensor.Tensor) []float64 {
	switch t.DType {
	case tensor.Int8:
		return widen[int8](t)
	case tensor.Int16:
		return widen[int16](t)
	case tensor.Int32:
		return widen[int32](t)
	case tensor.Int64:
		return widen[int64](t)
	case tensor.Uint8:
		return widen[uint8](t)
	case tensor.Uint16:
		return widen[uint16](t)
	case tensor.Uint32:
		return widen[uint32](t)
	case tensor.Uint64:
		return widen[uint64](t)
	}
	return wide(t)
}

func widen[T interface {
	tensor.Elem
	Integer
}](t *tensor.Tensor) []float64 {
	y := make([]float64, t.Len())
	for i, v := range tensor.Of[T](t) {
		y[i] = float64(v)
	}
	return y
}

// saturate rounds v to even and clamps it into the integer tensor t; bools are v != 0.
func saturate(t *tensor.Tensor, v []float64) {
	switch t.DType {
	case tensor.Int8:
		clampTo(tensor.Of[int8](t), v, math.MinInt8, math.MaxInt8)
	case tensor.Int16:
		clampTo(tensor.Of[int16](t), v, math.MinInt16, math.MaxInt16)
	case tensor.Int32:
		clampTo(tensor.Of[int32](t), v, math.MinInt32, math.MaxInt32)
	case tensor.Int64:
		clampTo(tensor.Of[int64](t), v, math.MinInt64, math.MaxInt64)
	case tensor.Uint8:
		clampTo(tensor.Of[uint8](t), v, 0, math.MaxUint8)
	case tensor.Uint16:
		clampTo(tensor.Of[uint16](t), v, 0, math.MaxUint16)
	case tensor.Uint32:
		clampTo(tensor.Of[uint32](t), v, 0, math.MaxUint32)
	case tensor.Uint64:
		clampTo(tensor.Of[uint64](t), v, 0, math.MaxUint64)
	case tensor.Bool:
		for i, x := range v {
			tensor.Of[bool](t)[i] = x != 0
		}
	}
}

func clampTo[T Integer](dst []T, v []float64, low, high T) {
	for i, x := range v {
		switch x = math.RoundToEven(x); {
		case x >= float64(high):
			dst[i] = high
		case x <= float64(low):
			dst[i] = low
		case x == x:
			dst[i] = T(x)
		}
	}
}

// channelsResize couples the axes whose size stays, unless a constant says what it is.
func channelsResize(n *graph.Node) []Coupling {
	x, y := n.In[0].Type.Shape, n.Out[0].Type.Shape
	axes, err := resizeList(n, len(x))
	if err != nil {
		return nil
	}
	fixed := make([]bool, len(x))
	for _, a := range axes {
		v := present(n, 3)
		fixed[a] = v != nil && v.IsConst() || n.Str("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
	}
	var cs []Coupling
	for a := range x {
		if !fixed[a] && x[a] == y[a] {
			cs = append(cs, Coupling{From: Port{Axis: a}, To: Port{Out: true, Axis: a}})
		}
	}
	return cs
}
