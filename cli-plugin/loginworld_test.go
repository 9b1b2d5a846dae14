package cliplugin_test

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"
)

// logins FILE HOST USER PASSWORD writes a login as Docker's config.json has it,
// "logins FILE HOST identity TOKEN" an identity token, "logins FILE HOST helper
// NAME" a helper for the host, and "logins FILE HOST store NAME" one for all.
func writeLogins(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: logins FILE HOST USER PASSWORD | identity TOKEN | helper NAME | store NAME")
	}
	host, what, value := args[1], args[2], args[3]
	config := map[string]any{}
	switch what {
	case "identity":
		config["auths"] = map[string]any{host: map[string]string{"identitytoken": value}}
	case "helper":
		config["credHelpers"] = map[string]string{host: value}
	case "store":
		config["credsStore"] = value
	default:
		config["auths"] = map[string]any{host: map[string]string{"username": what, "password": value}}
	}
	text, err := json.Marshal(config)
	ts.Check(err)
	file := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(file), 0o700))
	ts.Check(os.WriteFile(file, text, 0o600))
}

// tokens VARIABLE TOKEN starts a registry that wants a token, of a server which
// gives one for an identity token, and for nothing else.
func startTokens(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tokens VARIABLE TOKEN")
	}
	const access = "access-token"
	content := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewServer(worldOf(ts).recorded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token" && r.Method == http.MethodPost && r.FormValue("grant_type") == "refresh_token" && r.FormValue("refresh_token") == args[1]:
			_ = json.NewEncoder(w).Encode(map[string]string{"access_token": access})
		case r.URL.Path == "/token":
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}`, http.StatusUnauthorized)
		case r.Header.Get("Authorization") != "Bearer "+access:
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="test",scope="repository:app:pull,push"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`, http.StatusUnauthorized)
		default:
			content.ServeHTTP(w, r)
		}
	})))
	ts.Defer(s.Close)
	ts.Setenv(args[0], strings.TrimPrefix(s.URL, "http://"))
}
