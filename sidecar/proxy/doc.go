// Package proxy is the filtering registry proxy: it puts the parts together that
// its folders have, and serves them.
//
//	request ─▶ access ─▶ route ─▶ registry.Handler ─▶ push: staging ─▶ filters ─▶ keep
//	                                              └▶ pull: store ─▶ keep ─▶ upstream
//
// It knows nothing of files of settings, of command lines and of systemd.
package proxy
