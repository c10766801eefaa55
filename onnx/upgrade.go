package onnx

import (
	"fmt"
	"math"
	"slices"

	"whit/graph"
	"whit/tensor"
)

const (
	// Opset is the version of the ONNX operator set that model graphs are in.
	Opset = 28
	// MinOpset is the oldest version of which all operators are read; of older ones
	// those are that it left as they were.
	MinOpset = 7
)

// unchanged is the opset from which on operators are as in MinOpset.
var unchanged = func() map[string]int {
	m := map[string]int{}
	for at, names := range map[int][]string{
		1: {"ArgMax", "ArgMin", "Constant", "Conv", "ConvTranspose", "DepthToSpace", "Flatten", "Gather", "GlobalAveragePool",
			"GlobalMaxPool", "Hardmax", "Identity", "If", "LRN", "LogSoftmax", "Loop", "LpNormalization", "MatMul", "MaxPool",
			"MaxRoiPool", "Not", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "ReduceL1", "ReduceL2",
			"ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
			"Shape", "Size", "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Squeeze", "TopK", "Transpose", "Unsqueeze"},
		2: {"GlobalLpPool", "LpPool", "Pad", "Split"},
		4: {"Concat"},
		5: {"Reshape"},
		6: {"Abs", "Cast", "Ceil", "Clip", "Elu", "Exp", "Floor", "HardSigmoid", "InstanceNormalization", "LeakyRelu", "Log", "Max",
			"Mean", "Min", "Neg", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sqrt", "Sum", "Tanh", "Tile"},
	} {
		for _, name := range names {
			m[name] = at
		}
	}
	return m
}()

// upgrader rewrites one node of an older opset as nodes of Opset.
type upgrader struct {
	b *builder
	// nodes are what the node becomes, in order; before those of step that come
	// first, n itself, after those that come last.
	nodes, before, after []*graph.Node
}

// A step rewrites a node of a version below at, which has seen the steps before.
type step struct {
	at int
	f  func(*upgrader, *graph.Node) error
}

// upgrades lists, for each operator, the versions at which what a node says
// changed so that it must be said in another way. Versions that only add element
// types, optional attributes or optional inputs need no step.
var upgrades map[string][]step

func init() {
	upgrades = map[string][]step{
		"BatchNormalization": {{9, noSpatial}, {14, trainingByOutputs}},
		"Clip":               {{11, clipInputs}},
		"DFT":                {{20, dftAxis}},
		"Dropout":            {{10, maskType}, {12, dropoutRatio}},
		"GridSample":         {{20, gridModes}},
		"GroupNormalization": {{21, groupAffine}},
		"Hardmax":            {{13, flattenSoftmax}},
		"LogSoftmax":         {{13, flattenSoftmax}},
		"Pad":                {{11, padInputs}},
		"ReduceSum":          {{13, axesInput}},
		"Resize":             {{11, resizeInputs}, {Opset + 1, noEmptyInputs}},
		"RoiAlign":           {{16, roiAlignMode}},
		"Scan":               {{9, scanBatch}},
		"Scatter":            {{11, rename("ScatterElements")}},
		"Slice":              {{10, sliceInputs}},
		"Softmax":            {{13, flattenSoftmax}},
		"Split":              {{13, splitInput}, {18, numOutputs}},
		"Squeeze":            {{13, axesInput}},
		"TopK":               {{10, topkInput}},
		"Unsqueeze":          {{13, axesInput}},
		"Upsample":           {{9, upsampleScales}, {10, upsampleResize}},
	}
	for _, r := range []string{"L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"} {
		upgrades["Reduce"+r] = []step{{18, axesInput}}
	}
}

// upgrade brings n, of an opset before Opset, to Opset; u.nodes is the result.
func (u *upgrader) upgrade(n *graph.Node, version int) error {
	u.nodes = []*graph.Node{n}
	if at, ok := unchanged[n.Op]; version < MinOpset && (!ok || version < at) {
		return unsupported("opset %d is older than %d; convert the model with onnx.version_converter", version, MinOpset)
	}
	for _, s := range upgrades[n.Op] {
		if version >= s.at {
			continue
		}
		if err := s.f(u, n); err != nil {
			return fmt.Errorf("upgrading from opset %d: %w", version, err)
		}
	}
	u.nodes = append(append(u.before, n), u.after...)
	return nil
}

// constant makes a constant.
func (u *upgrader) constant(t *tensor.Tensor, name string) *graph.Value {
	v := &graph.Value{Name: u.b.unique(name), Kind: graph.Const, Type: t.Type, Data: t}
	u.b.names[v.Name] = true
	return v
}

func (u *upgrader) ints(name string, v ...int64) *graph.Value {
	return u.constant(tensor.Ints(v...), name)
}

// node makes a node of one output.
func (u *upgrader) node(op string, attrs map[string]any, in ...*graph.Value) *graph.Node {
	n := &graph.Node{Name: u.b.unique(op), Op: op, Attrs: attrs, In: in}
	u.b.nodes[n.Name] = true
	n.Out = []*graph.Value{{Name: u.b.unique(op), Producer: n}}
	u.b.names[n.Out[0].Name] = true
	return n
}

// first puts a node before n and returns its output.
func (u *upgrader) first(op string, attrs map[string]any, in ...*graph.Value) *graph.Value {
	m := u.node(op, attrs, in...)
	u.before = append(u.before, m)
	u.b.infos.node(m)
	return m.Out[0]
}

// then puts a node after n that computes n's output i from a new one.
func (u *upgrader) then(n *graph.Node, i int, op string, attrs map[string]any, more ...*graph.Value) {
	m := u.node(op, attrs, append([]*graph.Value{nil}, more...)...)
	inner, outer := m.Out[0], n.Out[i]
	m.Out[0], m.In[0], n.Out[i] = outer, inner, inner
	outer.Producer, inner.Producer = m, n
	u.after = append(u.after, m)
}

// float is a scalar constant of the element type of like.
func (u *upgrader) float(v float32, like *graph.Value, name string) (*graph.Value, error) {
	s := tensor.Scalar(v)
	switch d := u.b.infos.of(like).dtype; d {
	case tensor.Float32:
	case tensor.Float16, tensor.BFloat16, tensor.Float64:
		t := tensor.New(d)
		tensor.Convert(t, s)
		s = t
	case tensor.Int8:
		s = whole[int8](v, math.MinInt8, math.MaxInt8)
	case tensor.Int16:
		s = whole[int16](v, math.MinInt16, math.MaxInt16)
	case tensor.Int32:
		s = whole[int32](v, math.MinInt32, math.MaxInt32)
	case tensor.Int64:
		s = whole[int64](v, math.MinInt64, math.MaxInt64)
	case tensor.Uint8:
		s = whole[uint8](v, 0, math.MaxUint8)
	case tensor.Uint16:
		s = whole[uint16](v, 0, math.MaxUint16)
	case tensor.Uint32:
		s = whole[uint32](v, 0, math.MaxUint32)
	case tensor.Uint64:
		s = whole[uint64](v, 0, math.MaxUint64)
	case tensor.Invalid:
		// The type is not known here: let the graph find it.
		return u.first("CastLike", nil, u.constant(s, name), like), nil
	default:
		return nil, corrupt("%v has no %s", d, name)
	}
	return u.constant(s, name), nil
}

// whole is v cut to an integer of T, whose least and greatest are given; NaN is 0.
func whole[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64](v float32, least, greatest T) *tensor.Tensor {
	switch x := float64(v); {
	case x != x:
		return tensor.Scalar(T(0))
	case x <= float64(least):
		return tensor.Scalar(least)
	case x >= float64(greatest): // rounded up for 64 bits, which therefore are cut here too
		return tensor.Scalar(greatest)
	default:
		return tensor.Scalar(T(x))
	}
}

// set makes v input i, with absent inputs before it.
func set(n *graph.Node, i int, v *graph.Value) {
	for len(n.In) <= i {
		n.In = append(n.In, nil)
	}
	n.In[i] = v
}

func rename(op string) func(*upgrader, *graph.Node) error {
	return func(_ *upgrader, n *graph.Node) error {
		n.Op = op
		return nil
	}
}

// axesInput: the attribute axes becomes input 1.
func axesInput(u *upgrader, n *graph.Node) error { return intsInput(u, n, "axes", 1) }

// intsInput: an attribute of integers becomes an input.
func intsInput(u *upgrader, n *graph.Node, attr string, i int) error {
	a, ok := n.Attrs[attr]
	if !ok {
		return nil
	}
	v, ok := a.([]int64)
	if !ok {
		return corrupt("attribute %q is not a list of integers", attr)
	}
	delete(n.Attrs, attr)
	if n.Input(i) != nil {
		return corrupt("both input %d and attribute %q", i, attr)
	}
	set(n, i, u.ints(attr, v...))
	return nil
}

// noSpatial: spatial=0 normalises every position by itself.
func noSpatial(_ *upgrader, n *graph.Node) error {
	if n.Int("spatial", 1) == 0 {
		return unsupported("spatial=0")
	}
	delete(n.Attrs, "spatial")
	return nil
}

// trainingByOutputs: that a node trains was said by its further outputs.
func trainingByOutputs(_ *upgrader, n *graph.Node) error {
	for i, v := range n.Out {
		if v == nil {
			continue
		}
		if i >= 3 {
			return unsupported("outputs saved_mean and saved_var")
		}
		if i >= 1 {
			if n.Attrs == nil {
				n.Attrs = map[string]any{}
			}
			n.Attrs["training_mode"] = int64(1)
		}
	}
	return nil
}

func clipInputs(u *upgrader, n *graph.Node) error {
	for i, attr := range []string{"min", "max"} {
		a, ok := n.Attrs[attr]
		if !ok {
			continue
		}
		f, ok := a.(float32)
		if !ok {
			return corrupt("attribute %q is not a float", attr)
		}
		delete(n.Attrs, attr)
		if f == -math.MaxFloat32 && i == 0 || f == math.MaxFloat32 && i == 1 {
			continue
		}
		v, err := u.float(f, n.Input(0), attr)
		if err != nil {
			return err
		}
		set(n, i+1, v)
	}
	return nil
}

// dftAxis: the axis was an attribute with the default 1; as an input its default is -2.
func dftAxis(u *upgrader, n *graph.Node) error {
	axis := n.Int("axis", 1)
	delete(n.Attrs, "axis")
	set(n, 2, u.constant(tensor.Scalar(axis), "axis"))
	return nil
}

// maskType: the mask was of the input's type, and is bool.
func maskType(u *upgrader, n *graph.Node) error {
	if len(n.Out) > 1 && n.Out[1] != nil {
		u.then(n, 1, "CastLike", nil, n.Input(0))
	}
	return nil
}

func dropoutRatio(u *upgrader, n *graph.Node) error {
	a, ok := n.Attrs["ratio"]
	if !ok {
		return nil
	}
	f, ok := a.(float32)
	if !ok {
		return corrupt("attribute %q is not a float", "ratio")
	}
	delete(n.Attrs, "ratio")
	set(n, 1, u.constant(tensor.Scalar(f), "ratio"))
	return nil
}

func gridModes(_ *upgrader, n *graph.Node) error {
	switch n.Str("mode", "bilinear") {
	case "bilinear":
		delete(n.Attrs, "mode")
	case "bicubic":
		n.Attrs["mode"] = "cubic"
	}
	return nil
}

// groupAffine: scale and bias had one element a group, and have one a channel.
func groupAffine(u *upgrader, n *graph.Node) error {
	g := n.Int("num_groups", 0)
	if len(n.In) != 3 || n.In[0] == nil || n.In[1] == nil || n.In[2] == nil || g <= 0 {
		return corrupt("want three inputs and a positive num_groups")
	}
	c := u.first("Shape", map[string]any{"start": int64(1), "end": int64(2)}, n.In[0])
	to := u.first("Concat", map[string]any{"axis": int64(0)}, u.ints("one", 1), u.first("Div", nil, c, u.ints("groups", g)))
	for i := 1; i <= 2; i++ {
		x := u.first("Reshape", nil, n.In[i], u.ints("shape", -1, 1))
		n.In[i] = u.first("Reshape", nil, u.first("Expand", nil, x, to), u.ints("shape", -1))
	}
	return nil
}

// flattenSoftmax: the operator worked on the input as a matrix, its axes from
// axis on together; it works on one axis now.
func flattenSoftmax(u *upgrader, n *graph.Node) error {
	if len(n.In) != 1 || n.In[0] == nil || len(n.Out) != 1 || n.Out[0] == nil {
		return corrupt("want one input and one output")
	}
	axis := n.Int("axis", 1)
	n.Attrs = map[string]any{"axis": int64(-1)}
	x := n.In[0]
	if k := u.b.infos.of(x); axis == -1 || k.rank >= 0 && axis == int64(k.rank)-1 {
		return nil
	}
	n.In[0] = u.first("Flatten", map[string]any{"axis": axis}, x)
	shape := u.first("Shape", nil, x)
	u.then(n, 0, "Reshape", map[string]any{"allowzero": int64(1)}, shape)
	return nil
}

func padInputs(u *upgrader, n *graph.Node) error {
	if _, ok := n.Attrs["pads"]; !ok {
		return corrupt("no attribute %q", "pads")
	}
	if err := intsInput(u, n, "pads", 1); err != nil {
		return err
	}
	if f := n.Float("value", 0); f != 0 {
		v, err := u.float(f, n.Input(0), "value")
		if err != nil {
			return err
		}
		set(n, 2, v)
	}
	delete(n.Attrs, "value")
	return nil
}

// resizeInputs: there was one way to map coordinates. For the nearest mode it was
// left open which neighbour is meant; runtimes took the floor, and the ceiling
// where they shrink.
func resizeInputs(u *upgrader, n *graph.Node) error {
	if len(n.In) != 2 {
		return corrupt("%d inputs, want 2", len(n.In))
	}
	scales := n.In[1]
	n.In = []*graph.Value{n.In[0], nil, scales}
	n.Attrs = cloneAttrs(n.Attrs)
	n.Attrs["coordinate_transformation_mode"] = "asymmetric"
	if n.Str("mode", "nearest") != "nearest" {
		return nil
	}
	n.Attrs["nearest_mode"] = "floor"
	if scales.IsConst() && scales.Type.DType == tensor.Float32 && scales.Data != nil {
		s := tensor.Of[float32](scales.Data)
		shrinks := slices.ContainsFunc(s, func(x float32) bool { return x < 1 })
		if shrinks && slices.ContainsFunc(s, func(x float32) bool { return x > 1 }) {
			return unsupported("scales that grow and shrink at once")
		}
		if shrinks {
			n.Attrs["nearest_mode"] = "ceil"
		}
	}
	return nil
}

// noEmptyInputs: roi and scales had to be there, empty where they were not meant, and
// writers of later versions go on so.
func noEmptyInputs(_ *upgrader, n *graph.Node) error {
	for i := 1; i < len(n.In); i++ {
		if v := n.In[i]; v.IsConst() && v.Type.Shape.NumElements() == 0 {
			n.In[i] = nil
		}
	}
	n.In = trim(n.In)
	return nil
}

// roiAlignMode: the default was what is called output_half_pixel now.
func roiAlignMode(_ *upgrader, n *graph.Node) error {
	n.Attrs = cloneAttrs(n.Attrs)
	n.Attrs["coordinate_transformation_mode"] = "output_half_pixel"
	return nil
}

// scanBatch: Scan ran over the second axis, for every element of the first, the batch;
// now a Scan over the batch does that, whose body is the Scan. Its state becomes one
// of the outer one's sequences, so that every element begins with its own.
func scanBatch(u *upgrader, n *graph.Node) error {
	caps := n.Captures()
	own := len(n.In) - caps
	if own < 1 || n.In[0] != nil {
		return unsupported("Scan-8 with sequence_lens; convert the model with onnx.version_converter")
	}
	body := n.Graph("body")
	if body == nil || slices.Contains(n.In[1:], nil) {
		return corrupt("a body or an input is missing")
	}
	fresh := func(name string) string {
		name = u.b.unique(name)
		u.b.names[name] = true
		return name
	}
	outer := graph.New(body.Name)
	inner := &graph.Node{Name: u.b.unique("Scan"), Op: "Scan", Attrs: map[string]any{"body": body, "num_scan_inputs": n.Int("num_scan_inputs", 0)}}
	u.b.nodes[inner.Name] = true
	if d := n.Ints("directions"); d != nil {
		inner.Attrs["scan_input_directions"] = d
	}
	if caps > 0 {
		inner.Attrs[graph.CapturesAttr] = int64(caps)
	}
	for _, v := range n.In[1:] {
		c := &graph.Value{Name: fresh(v.Name), Kind: graph.Input}
		outer.Inputs, inner.In = append(outer.Inputs, c), append(inner.In, c)
	}
	for _, v := range body.Outputs {
		inner.Out = append(inner.Out, &graph.Value{Name: fresh(v.Name), Producer: inner})
	}
	outer.Nodes, outer.Outputs = []*graph.Node{inner}, slices.Clone(inner.Out)
	n.In = n.In[1:]
	n.Attrs = map[string]any{"body": outer, "num_scan_inputs": int64(own - 1)}
	if caps > 0 {
		n.Attrs[graph.CapturesAttr] = int64(caps)
	}
	return nil
}

func sliceInputs(u *upgrader, n *graph.Node) error {
	for i, attr := range []string{"starts", "ends", "axes"} {
		if _, ok := n.Attrs[attr]; !ok && i < 2 {
			return corrupt("no attribute %q", attr)
		}
		if err := intsInput(u, n, attr, i+1); err != nil {
			return err
		}
	}
	return nil
}

func splitInput(u *upgrader, n *graph.Node) error { return intsInput(u, n, "split", 1) }

// numOutputs: equal parts must be asked for.
func numOutputs(_ *upgrader, n *graph.Node) error {
	if n.Input(1) == nil {
		n.Attrs = cloneAttrs(n.Attrs)
		n.Attrs["num_outputs"] = int64(len(n.Out))
	}
	return nil
}

func topkInput(u *upgrader, n *graph.Node) error {
	k, ok := n.Attrs["k"].(int64)
	if !ok {
		return corrupt("no attribute %q", "k")
	}
	delete(n.Attrs, "k")
	set(n, 1, u.ints("k", k))
	return nil
}

func upsampleScales(u *upgrader, n *graph.Node) error {
	f, ok := n.Attrs["scales"].([]float32)
	if !ok {
		return corrupt("no attribute %q", "scales")
	}
	delete(n.Attrs, "scales")
	set(n, 1, u.constant(tensor.From(slices.Clone(f), len(f)), "scales"))
	return nil
}

// upsampleResize: Upsample is Resize that only grows.
func upsampleResize(u *upgrader, n *graph.Node) error {
	n.Op = "Resize"
	return resizeInputs(u, n)
}
