// Command htpasswd prints one line of an htpasswd file for the test registry
// that asks for a password: the user is the argument, the password is read
// from standard input. It exists because the registry accepts only bcrypt and
// not every machine has Apache's tool. Started by part-registry.sh.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "htpasswd:", err)
		os.Exit(1)
	}
}

// run reads the password of the one user named in args and prints the line.
func run(args []string) error {
	if len(args) != 1 || strings.Contains(args[0], ":") {
		return fmt.Errorf("want one user name without a colon, got %q", args)
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read password line from standard input: %w", err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(strings.TrimRight(line, "\r\n")), bcrypt.DefaultCost)
	if err != nil {
		return fmt.Errorf("hash password: %w", err)
	}
	fmt.Printf("%s:%s\n", args[0], hash)
	return nil
}
