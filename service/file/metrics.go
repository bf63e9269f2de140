package file

import "github.com/prometheus/client_golang/prometheus"

// metrics of files.
type metrics struct {
	// uploads has the label "result": begun, complete, or why there is no file: size, type, hash.
	uploads *prometheus.CounterVec
	// bytes has the label "direction": in, out.
	bytes *prometheus.CounterVec
	// thumbnails has the label "result": made, refused (too large to be read), failed.
	thumbnails *prometheus.CounterVec
	removed    prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		uploads:    vec("parley_file_uploads_total", "Uploads of files that were begun, that became files, and that were refused.", "result"),
		bytes:      vec("parley_file_bytes_total", "Bytes of files that came and went.", "direction"),
		thumbnails: vec("parley_file_thumbnails_total", "Small pictures of pictures.", "result"),
		removed:    prometheus.NewCounter(prometheus.CounterOpts{Name: "parley_file_removed_total", Help: "Files that were removed because no message named them, or because of their age."}),
	}
	if r != nil {
		r.MustRegister(m.uploads, m.bytes, m.thumbnails, m.removed)
	}
	return m
}
