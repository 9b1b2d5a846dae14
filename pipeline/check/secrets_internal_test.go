package check

import "testing"

func TestSecretsAreNamedAndNeverShown(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"ENV DB_PASSWORD=hunter2":                 "DB_PASSWORD=***",
		`RUN curl -H "Authorization: Bearer abc"`: "a login in a header",
		"ARG token":                                       "",
		"RUN --mount=type=secret,id=npm npm ci":           "",
		"RUN --mount=type=secret,id=token,target=/t cat":  "",
		"ENV TOKEN_FILE=/run/secrets/x":                   "",
		"ENV API_KEY=$KEY":                                "",
		"/bin/sh -c passwd -d root":                       "",
		"RUN apt-get install -y passwd && rm x":           "",
		"|1 NPM_TOKEN=abc123 /bin/sh -c npm ci":           "NPM_TOKEN=***",
		"RUN mysql --password hunter2":                    "password=***",
		`RUN echo '{"secret": "x1y2"}'`:                   "secret=***",
		"RUN git clone https://ann:pw@example.com/x":      "a URL with a password",
		"RUN git clone https://$USER:$PASS@example.com/x": "",
		"RUN aws configure set x AKIAIOSFODNN7EXAMPLE":    "an AWS access key",
		"RUN echo '-----BEGIN RSA PRIVATE KEY-----'":      "a private key",
		"ENV DISABLE_TOKEN=true":                          "",
		"COPY . /":                                        "",
		"PATH=/usr/bin":                                   "",
		"CMD [\"--password-file\" \"x\"]":                 "",
	} {
		if got := secretIn(text); got != want {
			t.Errorf("%q names %q, expected %q", text, got, want)
		}
	}
}
