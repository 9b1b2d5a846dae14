//go:build integration

package cliplugin_test

import "github.com/occystrap/occystrap/pipeline/pipelinetest"

// With the test environment the pages' real daemons and tools are there.
func init() { lookupTool = pipelinetest.LookupEnv }
