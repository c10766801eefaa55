package quant

import (
	"context"

	"whit/compress/method"
)

// Fold folds each BatchNormalization of constants into the convolution before it (R. Krishnamoorthi: Quantizing
// deep convolutional networks for efficient inference, 2018, section 3.1.3). What methods do to weights
// is then what the engine runs.
var Fold = &method.Method{
	Name:   "fold",
	Doc:    "folds batch normalisation into the convolutions before it",
	Params: []method.Param{},
	Apply: func(ctx context.Context, s *method.State, a method.Args) error {
		foldNorms(s)
		return nil
	},
}
