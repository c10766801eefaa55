package format

import "whit/entropy"

// samples are texts of each kind that small files are likely to resemble, "" for an
// absent one; docs/format.md prints them. Other samples would be another form of file.
var samples = []entropy.TextSample{
	{Kind: 4}, {Kind: 4}, {Kind: 1}, {Kind: 2}, {Kind: 3},

	{Kind: 0, Text: "\x03\x01\x05input\f\x05\x00\x05\"\"\x11\x02\xab\nR\x02\x02\v\x11\aR\x06\x06\tT\x02\x02\x02\x02\bR\x04\x04\x02\x01\x03\x11\x10\x00\x01\xdf\x01\x01\x00\x11\f\x03\t\x02\t\xa9\r\x10\nR\x02\x02\aR\x06\x06\tT\x02\x02\x02\x02\bR\x04\x04\x02\x02\xaa\nR\x02\x02\v\x11\aR\x06\x06\tT\x02\x02\x02\x02\bR\x02\x02\x02\x01\x03\x11\x10\x00\x01\xdf\x01\rm\x10\x01\xac\xc5'7\x11\x01fff?\x12\x10\x02\x01\x00\x11\f\x01\x00\x11\f\x01\x00\x11\f\x01\x00\x11\f\x03\t\x02\x02\xab\nR\x02\x02\v\x11\aR\x06\x06\tT\x02\x02\x02\x02\bR\x02\x02\x02\x01\x03\x11\x10\x00\x01\xdf\x01\x01\x00\x11\f\x05\n\x02\r\x03\t\x02\x02\xab\nR\x02\x02\v \aR\x06\x06\tT\x02\x02\x02\x02\bR\x02\x02\x02\x01\x03\x11\x10\x00\x01\xdf\x01\x01\x00\x11\f9\v\x02\x01\x00\x00\f\x01\x00\x00\f\x02\xab\nR\x02\x02\v\x11\aR\x02\x02\tT\x00\x00\x00\x00\bR\x02\x02\x02\x01\x03\x11\x10\x00\x01\xdf\x01\x01\x00\x11\f6\n\x02\x01\x00\x03\x10\x01\x01\f\v\t\x02\x0e)\x05\x11\x02\x01k\x03q\x04q\x01\x11\x02\x01\b\x11\n\f\x01\x00\x11\f<)\x05\x11\x02\x01\x02\x06output\f\x03\x01\x05batch\f"},
	{Kind: 0, Text: "\x03\x01\x05input\f\x05\x01\x01N\x03\x1e\x1e\b\x02\xab\nR\x02\x02\v\x11\aR\n\n\tT\x00\x00\x00\x00\bR\x02\x02\x02\x01\x05\x11\x14\x04\x00 \x01\x04\x11\b\x10\tI\aR\x04\x04\bR\x04\x04\x02\x02\xab\nR\x02\x02\v\x11\aR\n\n\tT\x00\x00\x00\x00\bR\x02\x02\x02\x01\x05\x112\x04\x00\x1f\x01\x04\x11\b\x0f\tI\aR\x04\x04\bR\x04\x04\x02\x0e)\x05\x11\x02\x01\x8b\x03q\x04q\x02\x10\x01\x11\x02\x01\x05\x11\xf4\x03\x04\x00\x10\x01\x04\x11\b\x10\x03\t\x02\x01\x8b\x03q\x04q\x02\x10\x01\x11\x02\x01\x05\x11\n\x04\x00\x10\x01\x04\x11\b\n\x01\x02\x06logits\f\x03\x01\x01N\f"},
	{Kind: 0, Text: "\x03\x01\x05input\f\x05\x01\x01N\x03\x1e\x1e\x06\x0e)\x05\x11\x02\x01\x8b\x03q\x04q\x02\x10\x01\x11\x02\x01\x05\x11\xac\x02\x04\x00\x10\x01\x04\x11\b\x10\x03\t\x02\x01\x8b\x03q\x04q\x02\x10\x01\x11\x02\x01\x05\x11d\x04\x00\x0f\x01\x04\x11\b\x10\x03\t\x02\x01\x8b\x03q\x04q\x02\x10\x01\x11\x02\x01\x05\x11\n\x04\x00\x10\x01\x04\x11\b\n\x01\x02\x06logits\f\x03\x01\x01N\f"},

	{Kind: 2, Text: "card: 1\ntask: detect\ninput: {name: images, color: bgr, orient: exif, layout: nchw, resize: {mode: letterbox, size: 640, filter: cv-linear, fill: 114}, scale: 0.003921568627450980, mean: 0, std: 1}\noutput: {name: output, activation: sigmoid}\nlabels: [background, person, face]\nlicence: MIT\n"},
	{Kind: 2, Text: "card: 1\ntask: embed\ninput: {name: x, color: rgb, orient: ignore, resize: {mode: stretch, size: 112, filter: pil-bicubic}, scale: 0.0078125, mean: 1, std: 1}\noutput: {name: embedding, activation: none}\nlicence: BSD-3-Clause\n"},
	{Kind: 2, Text: "card: 1\ntask: restore\ninput: {color: rgb, scale: 0.00392156862745098, mean: 0, std: 1}\noutput: {activation: none}\nlicence: GPL-3.0\n"},
	{Kind: 2, Text: "card: 1\ntask: classify\ninput: {name: input, color: rgb, orient: ignore, resize: {mode: shorter, size: 256, filter: pil-bilinear}, crop: 224, scale: 0.00392156862745098, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}\noutput: {name: logits, activation: softmax}\nlicence: Apache-2.0\n"},
	{Kind: 2, Text: "card: 1\ninput: {name: input, color: rgb, orient: ignore, resize: {mode: shorter, size: 256, filter: pil-bilinear}, crop: 224, scale: 0.00392156862745098, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}\nlicence: Apache-2.0\n"},
	{Kind: 2, Text: "card: 1\ninput: {name: input, color: gray, orient: ignore, resize: {mode: stretch, size: 28, filter: pil-bilinear}, scale: 0.00392156862745098, mean: 0.1307, std: 0.3081}\nlicence: CC-BY-SA-3.0\n"},
	{Kind: 2, Text: "card: 1\ntask: classify\ninput: {name: input, color: gray, orient: ignore, resize: {mode: stretch, size: 28, filter: pil-bilinear}, scale: 0.00392156862745098, mean: 0.1307, std: 0.3081}\noutput: {name: logits, activation: none}\nlabels: [\"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]\nlicence: CC-BY-SA-3.0\n"},

	{Kind: 1, Text: "\nmain_graph\x00\x11features.0.weight\x0ffeatures.0.bias\x1a/features/features.0/Conv_output_0\x19/features/features.1/Relu_output_0\x11classifier.weight\x0fclassifier.bias\x19/features/features.0/Conv\x19/features/features.1/Relu\x17/classifier/Gemm"},
	{Kind: 1, Text: "\nmain_graph\x00\x0cconv1.weight\nbn1.weight\x08bn1.bias\x10bn1.running_mean\x0fbn1.running_var\x15layer1.0.conv1.weight\x13layer1.0.conv1.bias\x1flayer1.0.downsample.0.weight\tfc.weight\afc.bias\v/conv1/Conv\v/relu1/Relu\r/pool/MaxPool\x08/Flatten\b/fc/Gemm"},
	{Kind: 1, Text: "\x06lenet5\x00\x0cconv1.weight\nconv1.bias\x05conv1\x05pool1\x0cconv2.weight\nconv2.bias\x05conv2\x05pool2\aflatten\nfc1.weight\x08fc1.bias\x03fc1\x05relu1\nfc2.weight\x08fc2.bias\x05conv1\x05pool1\x05conv2\x05pool2\aflatten\x03fc1\x05relu1\x03fc2"},
	{Kind: 1, Text: "\x08lenet300\x00\aflatten\nfc1.weight\x08fc1.bias\x03fc1\x05relu1\nfc2.weight\x08fc2.bias\x03fc2\x05relu2\nfc3.weight\x08fc3.bias\aflatten\x03fc1\x05relu1\x03fc2\x05relu2\x03fc3"},

	{Kind: 3, Text: "\twhit.arch\x06lenet5"},
	{Kind: 3, Text: "\twhit.arch\x08lenet300"},

	{Kind: 5, Text: "\x02\x0cconv1.weight\x01\x04\x14\x01\x05\x05\x02\nfc1.weight\x01\x02\xf4\x03\xa0\x06\x02"},
	{Kind: 5, Text: "\x03\x03fc1\x01\x02\xac\x02\x90\x06\x02\x03fc2\x01\x02d\xac\x02\x02\x03fc3\x01\x02\nd\x02"},
}
