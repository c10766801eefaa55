package modelfile_test

import (
	"fmt"
	"os"
	"path/filepath"

	"whit/internal/modelfile"
	"whit/zoo"
)

func Example() {
	dir, err := os.MkdirTemp("", "whit")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	g, err := zoo.Build("lenet300", 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"a.onnx", "a.whit"} { // the ending says the format
		path := filepath.Join(dir, name)
		if _, err := modelfile.Save(path, g, nil); err != nil {
			fmt.Println(err)
			return
		}
		f, err := modelfile.Load(path, "") // the content does
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(f.Base, f.Format, len(f.Graph.Nodes), "nodes, card:", f.Card != nil)
	}
	// Output:
	// a.onnx onnx 6 nodes, card: false
	// a.whit whit 6 nodes, card: false
}
