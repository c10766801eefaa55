package kern

//go:generate go -C _gen run .
