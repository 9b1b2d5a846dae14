package cliplugin_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"
)

// mkpython DIR writes library/hello:latest as the Python tool did: the layer under
// the digest that it had in a registry, the config anew under its old name.
func makePython(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	ts.Check(tw.WriteHeader(&tar.Header{Name: "greeting", Mode: 0o644, Size: 6, Format: tar.FormatUSTAR}))
	_, err := tw.Write([]byte("hello\n"))
	ts.Check(err)
	ts.Check(tw.Close())
	layerName := digest.FromString("as compressed").Encoded() + "/layer.tar"
	configName := digest.FromString("as it was").Encoded() + ".json"
	write := func(name string, v any) {
		raw, err := json.MarshalIndent(v, "", "    ")
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dir, name), raw, 0o600))
	}
	ts.Check(os.MkdirAll(filepath.Join(dir, filepath.Dir(layerName)), 0o700))
	ts.Check(os.WriteFile(filepath.Join(dir, layerName), layer.Bytes(), 0o600))
	write(configName, map[string]any{
		"architecture": "amd64", "os": "linux",
		"rootfs": map[string]any{"type": "layers", "diff_ids": []digest.Digest{digest.FromBytes(layer.Bytes())}},
	})
	write("manifest.json", []any{map[string]any{"Config": configName, "Layers": []string{layerName}, "RepoTags": []string{"hello:latest"}}})
	write("catalog.json", map[string]any{"library/hello": map[string]any{"latest": "manifest.json"}})
}
