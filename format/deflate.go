package format

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/flate"
)

// dictionary is what text is likely to hold; docs/format.md prints it. A new one
// would be a new method.
const dictionary = "licence: Apache-2.0\nlicence: MIT\nsource: notes: \nlabels: [\n  - background\n  - " +
	"['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']\n[\"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]\n" +
	"embed\ndetect\nrestore\nnone\n bgr, rgb, cv-linear cv-area letterbox stretch pil-bicubic exif\n" +
	"layer.blocks.downsample.features.classifier.running_mean.running_var.num_batches_tracked\n" +
	"conv1.weight\nconv1.bias\nconv2.weight\nconv2.bias\nbn1.weight\nbn1.bias\nfc1.w\nfc1.b\nfc3.weight\nfc3.bias\nfc2.weight\nfc2.bias\nfc1.weight\nfc1.bias\n" +
	"card: 1\ntask: classify\ninput: {name: input, color: rgb, orient: ignore,\n  resize: {mode: shorter, size: 256, filter: pil-bilinear},\n" +
	"  crop: 224, scale: 0.0039215686, mean: [.485,.456,.406], std: [.229,.224,.225]}\noutput: {name: logits, activation: none}\n" +
	"card: 1\ntask: classify\ninput:\n  name: input\n  color: gray\n  orient: ignore\n  resize:\n    mode: stretch\n    size: 28\n    filter: pil-bilinear\n" +
	"  scale: 0.00392156862745098\n  mean:\n  - 0\n  std:\n  - 1\noutput:\n  name: logits\n  activation: none\nlabels:\n- \"0\"\n- \"1\"\n- \"2\"\n- \"3\"\nlicence: "

// Methods of a text.
const (
	plain    = 0
	deflated = 1 // raw DEFLATE (RFC 1951) with the dictionary before it
)

// maxText bounds a text that is read, in bytes.
const maxText = 16 << 20

// packText is a method byte and the text, whichever way is smaller.
func packText(text []byte) []byte {
	var b bytes.Buffer
	b.WriteByte(deflated)
	w, err := flate.NewWriterDict(&b, flate.BestCompression, []byte(dictionary))
	if err == nil {
		if _, err = w.Write(text); err == nil {
			err = w.Close()
		}
	}
	if err != nil || b.Len() > len(text) {
		return append([]byte{plain}, text...)
	}
	return b.Bytes()
}

// unpackText is its inverse; a text is at most 16 MiB.
func unpackText(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, corrupt("text without a method")
	}
	switch b[0] {
	case plain:
		return bytes.Clone(b[1:]), nil
	case deflated:
		src := bytes.NewReader(b[1:])
		text, err := io.ReadAll(io.LimitReader(flate.NewReaderDict(src, []byte(dictionary)), maxText+1))
		if err != nil {
			return nil, corrupt("text: %v", err)
		}
		if len(text) > maxText {
			return nil, corrupt("text of more than %d bytes", maxText)
		}
		if src.Len() > 0 {
			return nil, corrupt("bytes after a text")
		}
		return text, nil
	}
	return nil, corrupt("text method %d", b[0])
}
