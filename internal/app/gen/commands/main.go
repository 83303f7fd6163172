package main

import (
	"fmt"
	"os"

	"headgate/internal/cli"
)

func main() {
	_ = os.Unsetenv("COLUMNS") // help is as wide as that says
	fmt.Print(cli.Reference())
}
