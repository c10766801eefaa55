package method

import "whit/train"

// FitParams are the parameters of training that methods share, with defaults for
// epochs (all of them, or of one round) and the learning rate.
func FitParams(epochs int, lr float64) []Param {
	return append([]Param{
		{Name: "epochs", Kind: Int, Default: epochs, Min: 0, Max: 10000, Doc: "epochs of training; 0: none"},
		{Name: "lr", Kind: Float, Default: lr, Min: 1e-9, Max: 100, Doc: "first learning rate"},
		{Name: "lr_end", Kind: Float, Default: 0.0, Min: 0, Max: 1, Doc: "last learning rate of a cosine schedule, as a share of the first"},
		{Name: "schedule", Kind: String, Default: "cosine", Choices: []string{"cosine", "step", "constant"}, Doc: "how the learning rate falls"},
		{Name: "optimizer", Kind: String, Default: "adamw", Choices: []string{"adamw", "adam", "sgd"}, Doc: "what turns gradients into steps"},
		{Name: "batch", Kind: Int, Default: 128, Min: 1, Max: 1 << 16, Doc: "samples a step"},
		{Name: "l1", Kind: Float, Default: 0.0, Min: 0, Max: 1, Doc: "L1 regularisation"},
		{Name: "l2", Kind: Float, Default: 0.0, Min: 0, Max: 1, Doc: "L2 regularisation"},
		{Name: "weight_decay", Kind: Float, Default: 0.0, Min: 0, Max: 10, Doc: "decoupled weight decay of adamw"},
		{Name: "label_smoothing", Kind: Float, Default: 0.0, Min: 0, Max: 0.99, Doc: "share of each label given to the other classes"},
		{Name: "ema", Kind: Float, Default: 0.0, Min: 0, Max: 0.99999, Doc: "decay of the moving average of weights; 0: none"},
		{Name: "augment", Kind: String, Default: "none", Doc: "what is done to images, as for whit train"},
		{Name: "views", Kind: Int, Default: 0, Min: 0, Max: 1000, Doc: "augmented versions of an image, taken in turn, each of which a teacher sees once; 0: a new one every epoch"},
		{Name: "mimic", Kind: Float, Default: 0.0, Min: 0, Max: 1000, Doc: "weight of how far the outputs of layers are from the float model's, beside the loss; 0: none"},
	}, DistillParams...)
}

// FitOptions are the training options that a step's arguments give; the method
// must declare FitParams.
func FitOptions(a Args) train.Options {
	o := train.Options{
		Epochs: a.Int("epochs"), Batch: a.Int("batch"), Optimizer: a.String("optimizer"), LR: a.Float("lr"), LREnd: a.Float("lr_end"),
		Schedule: a.String("schedule"), L1: a.Float("l1"), L2: a.Float("l2"), WeightDecay: a.Float("weight_decay"),
		LabelSmoothing: a.Float("label_smoothing"), EMA: a.Float("ema"), Augment: a.String("augment"), Views: a.Int("views"),
	}
	if w := a.Float("mimic"); w > 0 {
		o.Mimic = &train.Mimic{Weight: w} // State.Teach says what
	}
	Distilled(a, &o)
	return o
}

// DistillParams are the parameters of methods that may train against teachers.
var DistillParams = []Param{
	{Name: "distill", Kind: Float, Default: 0.0, Min: 0, Max: 1, Doc: "share of the loss that is taken against the teachers' decisions instead of the labels; the float model is the teacher where none is given"},
	{Name: "temperature", Kind: Float, Default: 2.0, Min: 0.1, Max: 100, Doc: "temperature at which these are softened"},
}

// Distilled sets what DistillParams give.
func Distilled(a Args, o *train.Options) {
	if o.Distill = a.Float("distill"); o.Distill > 0 {
		o.Temperature = a.Float("temperature")
	}
}
