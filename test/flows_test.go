package test

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestFlows plays every text file of flows/ against a server of its own. Those about messages are played on PostgreSQL too.
func TestFlows(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("flows/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no flows: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.HasPrefix(name, "message-") {
				onEach(t, func(t *testing.T, store Edit) { RunFlow(t, Start(t, store, SamePorts(t)), file) })
				return
			}
			RunFlow(t, Start(t, SamePorts(t)), file)
		})
	}
}
