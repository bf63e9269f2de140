package main

import (
	"fmt"
	"io"
	"slices"
)

const (
	modeAPI      = "api" // messages over SIP and over the API in turn
	roundsOfAPI  = 3
	sipBesideAPI = "tcp"
)

// besideSIP makes of mode api what it stands for: the same messages over SIP and over the API, in turn, because a machine is never
// the same twice.
func (o *options) besideSIP(chosen bool) {
	if o.mode != modeAPI {
		return
	}
	o.mode, o.beside = "message", true
	once := []string{sipBesideAPI, overHTTP}
	if chosen {
		once = append(once[:1], slices.DeleteFunc(o.transports, func(k string) bool { return k == sipBesideAPI })...)
	}
	o.transports = slices.Repeat(once, roundsOfAPI)
}

// tellBeside prints what the API's messages cost beside those of SIP, at the median of the rounds.
func tellBeside(w io.Writer, rows []*result) error {
	costs := map[string][]float64{}
	var kinds []string
	for _, r := range rows {
		if costs[r.Transport] == nil && r.Transport != sipBesideAPI {
			kinds = append(kinds, r.Transport)
		}
		costs[r.Transport] = append(costs[r.Transport], r.ServerPer)
	}
	median := func(kind string) float64 {
		list := slices.Sorted(slices.Values(costs[kind]))
		if len(list) == 0 {
			return 0
		}
		return list[len(list)/2]
	}
	sip := median(sipBesideAPI)
	for _, kind := range kinds {
		if _, err := fmt.Fprintf(w, "%s needs %.2f times the processor time of SIP over %s: %.2f beside %.2f CPU-s per 10,000\n",
			kind, median(kind)/sip, sipBesideAPI, median(kind), sip); err != nil {
			return err
		}
	}
	return nil
}
