// Package recipes holds the recipes that come with whit, as YAML files.
//
// Unstable: the package may change between releases.
//
//	recipe: 1
//	steps:
//	  - {method: magnitude, layers: "fc*", sparsity: 0.92, epochs: 10}
//	  - {method: codebook, bits: 5, train: true}
package recipes
