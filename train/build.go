package train

import (
	"fmt"
	"maps"
	"slices"

	"whit/graph"
	"whit/op"
	"whit/tensor"
)

// Names of the values that training adds to a model's.
const (
	nameLabels = "train:labels"
	nameHyper  = "train:hyper"
	nameStep   = "train:step"
	nameSoft   = "train:soft"
	nameLoss   = "train:loss"
	nameEach   = "train:each"
	nameLogits = "train:logits"
	preEMA     = "ema:"
	preM       = "opt:m:"
	preV       = "opt:v:"
	preBuf     = "opt:buf:"
)

// step graph: the training graph of a model.
type built struct {
	g       *graph.Graph
	input   string
	dropout bool     // has the input nameStep
	params  []string // trained ones, in the graph's order
	classes int
}

// build makes the graph of one training step from the model graph g: forward,
// loss, backward, updates. shape is one sample's.
func build(g *graph.Graph, shape []int, o *Options) (*built, error) {
	if len(g.Inputs) != 1 || len(g.Outputs) == 0 {
		return nil, fmt.Errorf("train: the model has %d inputs and %d outputs, want one input and logits", len(g.Inputs), len(g.Outputs))
	}
	c, _ := g.Clone()
	c.Outputs = c.Outputs[:1]
	in, logits := c.Inputs[0], c.Outputs[0]
	b := &built{g: c, input: in.Name}
	batch := max(2, o.Batch)
	if in.Decl.Ranked && len(in.Decl.Dims) == len(shape)+1 {
		in.Decl.Dims[0].Size = -1
	}
	in.Type = tensor.Type{DType: tensor.Float32, Shape: append(tensor.Shape{batch}, shape...)}
	labels := c.AddInput(nameLabels, tensor.Int32, -1)
	labels.Type = tensor.Type{DType: tensor.Int32, Shape: tensor.Shape{batch}}
	hyper := c.AddInput(nameHyper, tensor.Float32, 4)
	hyper.Type = tensor.Type{DType: tensor.Float32, Shape: tensor.Shape{4}}
	assigns := trainNorms(c)
	b.dropout = trainDropouts(c, o.Seed)
	inferTypes(c)
	if !logits.Bound() || len(logits.Type.Shape) != 2 {
		if logits.Bound() {
			return nil, fmt.Errorf("train: output %q is %v, want logits [N,C]", logits.Name, logits.Type)
		}
		// Say why.
		for _, n := range c.Nodes {
			if _, err := op.Infer(n); err != nil {
				return nil, fmt.Errorf("train: %w", err)
			}
			for _, v := range n.Out {
				if v != nil && !v.Bound() {
					return nil, fmt.Errorf("train: node %q (%s): its shape is not known before it runs", n.Name, n.OpName())
				}
			}
		}
	}
	b.classes = logits.Type.Shape[1]
	// The smaller last batch shares the graph: types serve the gradients only.
	xent := map[string]any{}
	if o.LabelSmoothing > 0 {
		xent["smoothing"] = float32(o.LabelSmoothing)
	}
	outs := c.AddN(graph.Domain, "SoftmaxXent", xent, 2, logits, labels)
	loss, each := outs[0], outs[1]
	var params []*graph.Value
	byName := map[string]*graph.Value{}
	for _, v := range c.Values() {
		if v.Kind == graph.Param {
			if v.Type.DType != tensor.Float32 {
				return nil, fmt.Errorf("train: param %q is %v, want float32", v.Name, v.Type)
			}
			params = append(params, v)
			byName[v.Name] = v
		}
	}
	if len(params) == 0 {
		return nil, fmt.Errorf("train: the model has no params: Promote finds those that a gradient reaches: %w", ErrNoGradient)
	}
	for _, name := range slices.Sorted(maps.Keys(o.LRMult)) {
		if byName[name] == nil {
			return nil, fmt.Errorf("%w: lr_mult names %q, which is not a param", ErrOptions, name)
		}
	}
	total := loss
	if o.Distill > 0 {
		soft := c.AddInput(nameSoft, tensor.Float32, -1, b.classes)
		soft.Type = tensor.Type{DType: tensor.Float32, Shape: tensor.Shape{batch, b.classes}}
		d := distillation(c, logits, labels, soft, o)
		share := func(v *graph.Value, x float64) *graph.Value {
			return c.Add("", "Mul", nil, v, c.NewConst("", tensor.Scalar(float32(x))))
		}
		if total = share(d, o.Distill); o.Distill < 1 {
			total = c.Add("", "Add", nil, total, share(loss, 1-o.Distill))
		}
	}
	if o.Mimic != nil {
		m, err := mimicry(c, in, o.Mimic)
		if err != nil {
			return nil, err
		}
		total = c.Add("", "Add", nil, total, m)
	}
	if o.Extra != nil {
		x, err := o.Extra(Loss{Graph: c, Input: in, Labels: labels, Logits: logits, Params: byName})
		if err != nil {
			return nil, err
		}
		if x != nil {
			total = c.Add("", "Add", nil, total, x)
		}
	}
	inferTypes(c)
	var wrt []*graph.Value
	for _, p := range params {
		if m, ok := o.LRMult[p.Name]; !ok || m > 0 {
			wrt = append(wrt, p)
		}
	}
	grads, err := Gradients(c, total, wrt)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	for i, p := range wrt {
		if grads[i] != nil {
			b.update(p, grads[i], hyper, o)
			b.params = append(b.params, p.Name)
		}
	}
	if len(b.params) == 0 {
		return nil, fmt.Errorf("train: the loss depends on no param")
	}
	c.Nodes = append(c.Nodes, assigns...)
	loss.Name, each.Name = nameLoss, nameEach
	logits.Name = nameLogits
	c.Outputs = []*graph.Value{loss, each, logits}
	return b, nil
}

// update appends the optimiser's node for p.
func (b *built) update(p, g, hyper *graph.Value, o *Options) {
	state := func(prefix string) *graph.Value {
		return b.g.NewVar(graph.State, prefix+p.Name, tensor.New(tensor.Float32, p.Type.Shape...))
	}
	a := map[string]any{}
	set := func(name string, v, def float64) {
		if v != def {
			a[name] = float32(v)
		}
	}
	if m, ok := o.LRMult[p.Name]; ok {
		set("scale", m, 1)
	}
	if len(p.Type.Shape) >= 2 {
		l2 := o.L2
		if o.Optimizer == "adamw" {
			set("decay", o.WeightDecay, 0)
		} else {
			l2 += o.WeightDecay
		}
		set("l2", l2, 0)
		set("l1", o.L1, 0)
	}
	var ema []*graph.Value
	if o.EMA > 0 {
		e := state(preEMA)
		e.Data = p.Data.Clone()
		ema = append(ema, e)
	}
	var n *graph.Node
	if o.Optimizer == "sgd" {
		var buf *graph.Value
		if o.Momentum > 0 {
			set("momentum", o.Momentum, 0)
			buf = state(preBuf)
			if o.Nesterov {
				a["nesterov"] = int64(1)
			}
		}
		n = b.g.NewNode(graph.Domain, "SGD", a, 0, append([]*graph.Value{p, g, buf, hyper}, ema...)...)
	} else {
		a["beta1"], a["beta2"], a["epsilon"] = float32(o.Beta1), float32(o.Beta2), float32(o.Epsilon)
		n = b.g.NewNode(graph.Domain, "AdamW", a, 0, append([]*graph.Value{p, g, state(preM), state(preV), hyper}, ema...)...)
	}
	b.g.Nodes = append(b.g.Nodes, n)
}

// trainNorms switches every BatchNormalization whose statistics are States to
// training and returns the nodes that write the new statistics.
func trainNorms(c *graph.Graph) []*graph.Node {
	var assigns []*graph.Node
	for _, n := range c.Nodes {
		if n.Domain != "" || n.Op != "BatchNormalization" || len(n.In) < 5 || n.In[3].Kind != graph.State || n.In[4].Kind != graph.State {
			continue
		}
		n.Attrs = maps.Clone(n.Attrs)
		if n.Attrs == nil {
			n.Attrs = map[string]any{}
		}
		n.Attrs["training_mode"] = int64(1)
		for len(n.Out) < 3 {
			n.Out = append(n.Out, nil)
		}
		for i := 1; i < 3; i++ {
			if n.Out[i] == nil {
				n.Out[i] = &graph.Value{Name: c.NewName("running"), Producer: n}
			}
			assigns = append(assigns, c.NewNode(graph.Domain, "Assign", nil, 0, n.In[2+i], n.Out[i]))
		}
	}
	return assigns
}

// trainDropouts replaces every Dropout by the one that trains; it reports whether
// there was any.
func trainDropouts(c *graph.Graph, seed uint64) bool {
	var step *graph.Value
	for i, n := range c.Nodes {
		if n.Domain != "" || n.Op != "Dropout" {
			continue
		}
		ratio := float32(0.5)
		if v := n.Input(1); v != nil {
			if !v.IsConst() || v.Type.DType != tensor.Float32 || v.Type.Shape.NumElements() != 1 {
				continue
			}
			ratio = tensor.Of[float32](v.Tensor())[0]
		}
		if !(ratio > 0 && ratio < 1) {
			continue
		}
		if step == nil {
			step = c.AddInput(nameStep, tensor.Int64)
			step.Type = tensor.Type{DType: tensor.Int64}
		}
		t := c.NewNode(graph.Domain, "Dropout", map[string]any{
			"ratio": ratio, "seed": int64(op.Random(seed, streamDropout, 0)), "node": int64(i)}, 1, n.In[0], step)
		c.Before(n, t)
		c.Replace(n.Out[0], t.Out[0])
	}
	return step != nil
}
