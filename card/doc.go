// Package card is the model card: how a picture becomes a network's input, what
// the output means, the labels, the licence. It resizes and normalises itself, in
// the arithmetic of the library that the model was trained with (Pillow or
// OpenCV), so that a model sees the pixels that it learned from.
//
//	picture ▶ orientation ▶ colour ▶ resize ▶ crop ▶ x = (pixel·scale - mean)/std
//
// Everything up to the crop is in 8-bit pixels; see [Prep]. A card is YAML:
//
//	card: 1
//	task: classify        # classify | embed | detect | restore | none
//	input: {name: input, color: rgb, orient: ignore,               # rgb | bgr | gray; ignore | exif
//	  resize: {mode: shorter, size: 256, filter: pil-bilinear},    # shorter | stretch | letterbox
//	  crop: 224, scale: 0.0039215686, mean: [.485,.456,.406], std: [.229,.224,.225]}
//	output: {name: logits, activation: none}                       # none | softmax | sigmoid | log_softmax
//	labels: labels.txt    # a file beside the card, one label a line, or an inline list
//	licence: Apache-2.0
//
// What a card leaves out is never guessed: where a picture needs a missing field,
// the error names it. docs/preprocessing.md has every field, the filters and the
// order in which cards are looked for.
package card
