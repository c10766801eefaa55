// Package zoo holds network architectures as builders, and named models with trained
// weights.
//
// Unstable: the package may change between releases.
//
// A builder makes a model graph with seeded initial weights, as constants, ready
// for training after train.Promote. Every architecture has one input "input"
// ([N,C,H,W], N symbolic) and one output "logits" ([N,classes]):
//
//	zoo.Build("lenet5", 1) -> input[N,1,28,28] -> conv1 pool1 conv2 pool2 fc1 relu fc2 -> logits[N,10]
//
// Weights are drawn uniformly, He for layers that a ReLU follows (K. He, X. Zhang,
// S. Ren, J. Sun: Delving Deep into Rectifiers, 2015, section 2.2) and Glorot for
// the others (X. Glorot, Y. Bengio: Understanding the difficulty of training deep
// feedforward neural networks, 2010, section 4.2.1); biases are zero. Uniform
// numbers need no transcendental function, so that the same seed gives the same
// bytes on every CPU.
//
// A [Model] is pinned by package, version and SHA-256, fetched by the package tools or
// taken from an archive ([Model.Load]), and built by the same builders from weights that
// must fit by name and shape. Files of weights are data from outside: they are read within
// bounds, and nothing in them is run.
package zoo
