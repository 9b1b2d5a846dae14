package daemon_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/occystrap/occystrap/pipeline/process"
)

// sayWho is set for a process that says what it is called, and ends.
const sayWho = "OCCYSTRAP_TEST_SAY_WHO"

func TestMain(m *testing.M) {
	if os.Getenv(sayWho) != "" {
		fmt.Println(process.Name()) //nolint:forbidigo // whoever started it reads it
		return
	}
	goleak.VerifyTestMain(m)
}
