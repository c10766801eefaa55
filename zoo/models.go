package zoo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"whit/graph"
	"whit/internal/pull"
	"whit/internal/torch"
)

// ErrLicence means that a model's terms have to be accepted first.
var ErrLicence = errors.New("terms not accepted")

// The entries of a graph's metadata that say where trained weights come from.
const (
	MetaModel   = "whit.model"   // name and package
	MetaTerms   = "whit.terms"   // of the weights, and whether they may be used commercially
	MetaTrained = "whit.trained" // on what
)

// Model is a network with trained weights that can be pulled by name.
type Model struct {
	// Name is what FindModel and the command line call it.
	Name string
	// About is one line: what it does.
	About string
	// Package is name and version of the package that carries the weights.
	Package string
	// Licence is short, as the card has it: what the package says.
	Licence string
	// Terms says what is known about the weights' own terms.
	Terms string
	// Commercial is yes, no or unclear; all but yes have to be accepted.
	Commercial string
	// Trained is the training data, as the authors give it.
	Trained string
	// Card is the model card as YAML; Licence is part of it.
	Card string
	// Note says what else the input must be, "" where the card says all.
	Note string

	// Spec are the files of the package that hold the weights.
	Spec pull.Spec
	// Build makes the model graph of the folder that holds the Spec's files.
	Build func(dir string) (*graph.Graph, error)
}

// The packages.
var (
	facenet = pull.Spec{
		Name: "facenet-pytorch-2.6.0",
		Source: pull.Archive{Client: pull.Pip, Package: "facenet-pytorch", Version: "2.6.0", Size: 1881930,
			SHA256: "ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca"},
		Files: []pull.File{
			{Name: "onet.pt", Path: "facenet_pytorch/data/onet.pt", Size: 1559269, SHA256: "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d"},
			{Name: "pnet.pt", Path: "facenet_pytorch/data/pnet.pt", Size: 28570, SHA256: "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f"},
			{Name: "rnet.pt", Path: "facenet_pytorch/data/rnet.pt", Size: 403147, SHA256: "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86"},
		},
	}
	demosaicnet = pull.Spec{
		Name: "demosaicnet-0.0.14",
		Source: pull.Archive{Client: pull.Pip, Package: "demosaicnet", Version: "0.0.14", Size: 3630814,
			SHA256: "e50d502a1336736fc83fdaca97c6e709c3114419083cb1854def3355fb6894c9"},
		Files: []pull.File{
			{Name: "bayer.pth", Path: "demosaicnet/data/bayer.pth", Size: 2251181, SHA256: "a90f45c34b89fea3faf49060687839a7d191d302f597a302b31d1bbc021ff7d8"},
			{Name: "xtrans.pth", Path: "demosaicnet/data/xtrans.pth", Size: 1644547, SHA256: "3759a13296fecebae83a36a8f0c3890d8a2f7d33e5f8149ed9b76a70f8285bc7"},
		},
	}
	faceModels = pull.Spec{
		Name: "face-recognition-models-0.3.0",
		Source: pull.Archive{Client: pull.Pip, Package: "face-recognition-models", Version: "0.3.0", Size: 100149358,
			SHA256: "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf"},
		Files: []pull.File{
			{Name: "face.dat", Path: "face_recognition_models-0.3.0/face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
				Size: 22466066, SHA256: "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"},
		},
	}
	faceAPI = pull.Spec{
		Name: "face-api-1.7.15",
		Source: pull.Archive{Client: pull.NPM, Package: "@vladmandic/face-api", Version: "1.7.15", Size: 12677476,
			SHA256: "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031"},
		Files: []pull.File{
			{Name: "face.bin", Path: "package/model/face_recognition_model.bin", Size: 6444032, SHA256: "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589"},
			{Name: "face.json", Path: "package/model/face_recognition_model-weights_manifest.json", Size: 19615, SHA256: "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b"},
		},
	}
)

// What the packages and the authors say. MTCNN's weights were published by the paper's
// authors, and pass through facenet-pytorch, with the MIT licence and no word about
// weights; the pictures that they were trained on are for research only. The dlib network
// is dedicated to the public domain by its author.
const (
	mtcnnTerms   = "the package is under MIT and says nothing about the weights, which are the paper's authors'; the training pictures are for non-commercial research"
	mtcnnTrained = "WIDER FACE and CelebA (K. Zhang and others, 2016, section III)"
	dlibTerms    = "dedicated to the public domain by the author (CC0 1.0)"
	dlibTrained  = "about 3 million faces of 7485 people: FaceScrub, VGG Face, and pictures from the web (D. E. King, dlib-models)"
)

// models are the known models, sorted by name.
var models = []Model{
	{
		Name: "demosaicnet-bayer", About: "a picture from a Bayer mosaic (G R / B G)",
		Package: "demosaicnet 0.0.14", Licence: "MIT", Commercial: "yes", Terms: "MIT, by the authors of the network, who ship the weights in the package",
		Trained: "patches of ImageNet and MirFlickr (M. Gharbi and others, 2016, section 4)",
		Card:    restoreCard,
		Note:    "the input is a mosaic of three channels, 0 where the sensor has no such pixel, with even sides; the output lacks 31 pixels on every side",
		Spec:    demosaicnet, Build: fromTorch("bayer.pth", demosaicBayer),
	},
	{
		Name: "demosaicnet-xtrans", About: "a picture from an X-Trans mosaic",
		Package: "demosaicnet 0.0.14", Licence: "MIT", Commercial: "yes", Terms: "MIT, by the authors of the network, who ship the weights in the package",
		Trained: "patches of ImageNet and MirFlickr (M. Gharbi and others, 2016, section 4)",
		Card:    restoreCard,
		Note:    "the input is a mosaic of three channels, 0 where the sensor has no such pixel; the output lacks 12 pixels on every side",
		Spec:    demosaicnet, Build: fromTorch("xtrans.pth", demosaicXTrans),
	},
	{
		Name: "dlib-face", About: "a descriptor of 128 numbers of an aligned face; one person's differ by less than 0.6",
		Package: "face-recognition-models 0.3.0", Licence: "CC0-1.0", Commercial: "yes", Terms: dlibTerms, Trained: dlibTrained,
		Card: faceCard(256, "stretch", "CC0-1.0"),
		Note: "the input is an upright face, cut out with a quarter of its size around it",
		Spec: faceModels, Build: func(dir string) (*graph.Graph, error) {
			b, err := readWeights(dir, "face.dat")
			if err != nil {
				return nil, err
			}
			s, err := readDlibFace(b)
			if err != nil {
				return nil, fmt.Errorf("face.dat: %w", err)
			}
			return dlibFace(s)
		},
	},
	{
		Name: "dlib-face-u8", About: "dlib-face with most weights quantised to 8 bits, as face-api ships it",
		Package: "@vladmandic/face-api 1.7.15", Licence: "MIT", Commercial: "yes", Terms: dlibTerms + "; quantised by the package, which is under MIT", Trained: dlibTrained,
		Card: faceCard(255, "letterbox", "MIT"),
		Note: "the input is an upright face; the package divides by 255 where dlib divides by 256",
		Spec: faceAPI, Build: func(dir string) (*graph.Graph, error) {
			manifest, err := readWeights(dir, "face.json")
			if err != nil {
				return nil, err
			}
			shards, err := readWeights(dir, "face.bin")
			if err != nil {
				return nil, err
			}
			s, err := readFaceAPI(manifest, shards)
			if err != nil {
				return nil, fmt.Errorf("face.json: %w", err)
			}
			return dlibFace(s)
		},
	},
	{
		Name: "mtcnn-onet", About: "MTCNN's third stage: face or not, box and five points of a window of 48 pixels",
		Package: "facenet-pytorch 2.6.0", Licence: "MIT", Commercial: "unclear", Terms: mtcnnTerms, Trained: mtcnnTrained,
		Card: mtcnnCard(48),
		Spec: facenet, Build: fromTorch("onet.pt", onet),
	},
	{
		Name: "mtcnn-pnet", About: "MTCNN's first stage: windows of 12 pixels that may be faces, in a picture of any size",
		Package: "facenet-pytorch 2.6.0", Licence: "MIT", Commercial: "unclear", Terms: mtcnnTerms, Trained: mtcnnTrained,
		Card: mtcnnCard(0),
		Note: "run it on the picture at several scales",
		Spec: facenet, Build: fromTorch("pnet.pt", pnet),
	},
	{
		Name: "mtcnn-rnet", About: "MTCNN's second stage: face or not, and box, of a window of 24 pixels",
		Package: "facenet-pytorch 2.6.0", Licence: "MIT", Commercial: "unclear", Terms: mtcnnTerms, Trained: mtcnnTrained,
		Card: mtcnnCard(24),
		Spec: facenet, Build: fromTorch("rnet.pt", rnet),
	},
}

// restoreCard: pixels from 0 to 1.
const restoreCard = `card: 1
task: restore
input: {name: input, color: rgb, orient: ignore, scale: 0.00392156862745098, mean: [0], std: [1]}
output: {name: image, activation: none}
licence: MIT
`

// mtcnnCard: x = (pixel - 127.5)/128. The package resizes by averages over areas, to
// which cv-area comes nearest.
func mtcnnCard(side int) string {
	resize := ""
	if side > 0 {
		resize = fmt.Sprintf("resize: {mode: stretch, size: %d, filter: cv-area},\n  ", side)
	}
	return fmt.Sprintf(`card: 1
task: detect
input: {name: input, color: rgb, orient: ignore,
  %sscale: 0.0078125, mean: [0.99609375], std: [1]}
output: {name: prob, activation: softmax}
licence: "MIT (package); commercial use of the weights is unclear"
`, resize)
}

// faceCard: x = (pixel - (122.782, 117.001, 104.298))/div.
func faceCard(div float64, mode, licence string) string {
	return fmt.Sprintf(`card: 1
task: embed
input: {name: input, color: rgb, orient: ignore,
  resize: {mode: %s, size: 150, filter: cv-linear},
  scale: 1, mean: [122.782, 117.001, 104.298], std: [%g]}
output: {name: descriptor, activation: none}
licence: %s
`, mode, div, licence)
}

// Models lists the models that can be pulled, sorted by name.
func Models() []Model { return slices.Clone(models) }

// FindModel is the model of that name in list; the error names those that exist.
func FindModel(list []Model, name string) (Model, error) {
	var names []string
	for _, m := range list {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return Model{}, fmt.Errorf("unknown model %q, want one of %s", name, strings.Join(names, " "))
}

// Command is the command that downloads the package.
func (m Model) Command() string { return m.Spec.Source.Command() }

// Cached reports whether the weights are in the cache, whole.
func (m Model) Cached() bool { return pull.Cached(m.Spec) }

// Free reports whether the terms allow any use, so that nothing has to be accepted.
func (m Model) Free() bool { return m.Commercial == "yes" }

// Load brings the weights into the cache, from the archive if that is not "", and makes
// the model graph of them, with card, source and terms in its metadata. Terms that are
// not free of conditions have to be accepted, before anything is fetched.
func (m Model) Load(ctx context.Context, archive string, accept bool) (*graph.Graph, error) {
	if !m.Free() && !accept {
		return nil, fmt.Errorf("%s: %w: commercial use is %s: %s", m.Name, ErrLicence, map[string]string{"no": "forbidden", "unclear": "unclear"}[m.Commercial], m.Terms)
	}
	var dir string
	var err error
	if archive != "" {
		dir, err = pull.PullFrom(ctx, m.Spec, archive)
	} else {
		dir, err = pull.Pull(ctx, m.Spec)
	}
	if err != nil {
		return nil, err
	}
	g, err := m.Build(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	g.Meta = map[string]string{
		"whit.card": m.Card, MetaModel: m.Name + " from " + m.Package,
		MetaTerms: "commercial use: " + m.Commercial + "; " + m.Terms, MetaTrained: m.Trained,
	}
	return g, nil
}

// fromTorch builds a network from the state dict in a file.
func fromTorch(name string, build func(*given) (*graph.Graph, error)) func(string) (*graph.Graph, error) {
	return func(dir string) (*graph.Graph, error) {
		b, err := readWeights(dir, name)
		if err != nil {
			return nil, err
		}
		list, err := torch.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		s, err := newGiven(list)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return build(s)
	}
}

func readWeights(dir, name string) ([]byte, error) {
	st, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	if st.Size() > maxWeights {
		return nil, fmt.Errorf("%s: %d bytes, at most %d expected", name, st.Size(), maxWeights)
	}
	return os.ReadFile(filepath.Join(dir, name))
}
