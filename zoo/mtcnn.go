package zoo

import (
	"fmt"

	"whit/graph"
	"whit/tensor"
)

// The cascade of K. Zhang, Z. Zhang, Z. Li, Y. Qiao: Joint face detection and alignment
// using multi-task cascaded convolutional networks, 2016, figure 2, as facenet-pytorch
// holds it: outputs "box" (offsets of the corners), "prob" (no face, face) and, of the
// O-Net, "points" (five x, then five y). The P-Net slides over pictures of any size, a
// window of 12 pixels with a stride of 2.

// prelu is a PRelu with a slope a channel.
func (b *builder) prelu(name string) {
	slope := b.fill(name+".weight", b.c, 0.25)
	if b.given == nil || b.given.err == nil {
		shape := []int{b.c}
		if b.h > 0 {
			shape = []int{b.c, 1, 1}
		}
		slope.Data = slope.Data.Reshape(shape...)
		slope.Type = slope.Data.Type
	}
	b.node(name, "PRelu", nil, b.x, slope)
}

// columns permutes the inputs of a fully connected layer whose weights were trained on
// pictures flattened as [W,H,C] to the order [C,H,W].
func (s *given) columns(name string, c, h, w int) {
	if s == nil {
		return
	}
	t := s.w[name]
	if t == nil || len(t.Shape) != 2 || t.Shape[1] != c*h*w {
		return // tells itself when it is taken
	}
	out := tensor.New(tensor.Float32, t.Shape...)
	from, to := tensor.Of[float32](t), tensor.Of[float32](out)
	for o := range t.Shape[0] {
		row := o * c * h * w
		for x := range w {
			for y := range h {
				for k := range c {
					to[row+(k*h+y)*w+x] = from[row+(x*h+y)*c+k]
				}
			}
		}
	}
	s.w[name] = out
}

// heads are the outputs, each a layer on the same value.
func (b *builder) heads(heads ...func()) {
	x, c := b.x, b.c
	for _, f := range heads {
		b.x, b.c = x, c
		f()
	}
}

// output makes the value so far the graph's next output.
func (b *builder) output(name string, dims ...graph.Dim) {
	b.x.Name = name
	b.x.Decl = graph.Decl{DType: tensor.Float32, Ranked: true, Dims: append([]graph.Dim{{Size: -1, Name: "N"}}, dims...)}
	b.g.Outputs = append(b.g.Outputs, b.x)
}

func size(n int) graph.Dim         { return graph.Dim{Size: n} }
func symbol(name string) graph.Dim { return graph.Dim{Size: -1, Name: name} }
func softmax(b *builder, name string) {
	b.node(name, "Softmax", map[string]any{"axis": int64(1)}, b.x)
}

// trained is a builder of a network with the given weights.
func trained(name string, s *given, input ...int) *builder {
	b := Arch{Name: name, Input: input}.builder(0)
	b.given = s
	return b
}

// anySize lets the height and width of the input open.
func (b *builder) anySize() {
	in := b.g.Inputs[0]
	in.Decl.Dims[2], in.Decl.Dims[3] = symbol("H"), symbol("W")
}

// finish checks that the weights fit, and the graph.
func (b *builder) finish() (*graph.Graph, error) {
	err := b.given.done()
	if err == nil {
		err = b.err
	}
	if err == nil {
		err = b.g.Verify()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.g.Name, err)
	}
	return b.g, nil
}

func pnet(s *given) (*graph.Graph, error) {
	b := trained("mtcnn-pnet", s, 3, 12, 12)
	b.anySize()
	b.conv("conv1", 10, 3, he)
	b.prelu("prelu1")
	b.pool("pool1", "MaxPool", window{k: 2, stride: 2, ceil: true})
	b.conv("conv2", 16, 3, he)
	b.prelu("prelu2")
	b.conv("conv3", 32, 3, he)
	b.prelu("prelu3")
	b.heads(func() {
		b.conv("conv4_2", 4, 1, glorot)
		b.output("box", size(4), symbol("h"), symbol("w"))
	}, func() {
		b.conv("conv4_1", 2, 1, glorot)
		softmax(b, "softmax4_1")
		b.output("prob", size(2), symbol("h"), symbol("w"))
	})
	return b.finish()
}

func rnet(s *given) (*graph.Graph, error) {
	s.columns("dense4.weight", 64, 3, 3)
	b := trained("mtcnn-rnet", s, 3, 24, 24)
	for i, n := range []int{28, 48} {
		b.conv(fmt.Sprint("conv", i+1), n, 3, he)
		b.prelu(fmt.Sprint("prelu", i+1))
		b.pool(fmt.Sprint("pool", i+1), "MaxPool", window{k: 3, stride: 2, ceil: true})
	}
	b.conv("conv3", 64, 2, he)
	b.prelu("prelu3")
	b.flatten("flatten")
	b.fc("dense4", 128, he)
	b.prelu("prelu4")
	b.heads(func() {
		b.fc("dense5_2", 4, glorot)
		b.output("box", size(4))
	}, func() {
		b.fc("dense5_1", 2, glorot)
		softmax(b, "softmax5_1")
		b.output("prob", size(2))
	})
	return b.finish()
}

func onet(s *given) (*graph.Graph, error) {
	s.columns("dense5.weight", 128, 3, 3)
	b := trained("mtcnn-onet", s, 3, 48, 48)
	for i, n := range []int{32, 64, 64} {
		b.conv(fmt.Sprint("conv", i+1), n, 3, he)
		b.prelu(fmt.Sprint("prelu", i+1))
		k := 3
		if i == 2 {
			k = 2
		}
		b.pool(fmt.Sprint("pool", i+1), "MaxPool", window{k: k, stride: 2, ceil: true})
	}
	b.conv("conv4", 128, 2, he)
	b.prelu("prelu4")
	b.flatten("flatten")
	b.fc("dense5", 256, he)
	b.prelu("prelu5")
	b.heads(func() {
		b.fc("dense6_2", 4, glorot)
		b.output("box", size(4))
	}, func() {
		b.fc("dense6_3", 10, glorot)
		b.output("points", size(10))
	}, func() {
		b.fc("dense6_1", 2, glorot)
		softmax(b, "softmax6_1")
		b.output("prob", size(2))
	})
	return b.finish()
}
