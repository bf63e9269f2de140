/*
 * What the headless clients share: events leave on standard output as one JSON object a line, commands come in on
 * standard input as one line of fields separated by tabs, in which \\, \n and \t stand for themselves.
 */
#ifndef EVENTS_H
#define EVENTS_H

#include <stdio.h>
#include <string.h>

enum { MAX_FIELDS = 4 };

/* event_open starts an event; event_text and event_number add to it; event_close sends it. */
static inline void event_open(const char *name) {
	printf("{\"event\":\"%s\"", name);
}

static inline void event_number(const char *key, long long value) {
	printf(",\"%s\":%lld", key, value);
}

static inline void event_text(const char *key, const char *value) {
	printf(",\"%s\":\"", key);
	for (const unsigned char *p = (const unsigned char *)(value ? value : ""); *p; p++) {
		if (*p == '"' || *p == '\\') {
			printf("\\%c", *p);
		} else if (*p < 0x20) {
			printf("\\u%04x", *p);
		} else {
			putchar(*p);
		}
	}
	putchar('"');
}

static inline void event_close(void) {
	puts("}");
	fflush(stdout);
}

/* unescape rewrites one field in place. */
static inline void unescape(char *s) {
	char *out = s;
	for (; *s; s++) {
		if (*s == '\\' && s[1]) {
			s++;
			*out++ = *s == 'n' ? '\n' : *s == 't' ? '\t' : *s;
		} else {
			*out++ = *s;
		}
	}
	*out = 0;
}

/* split_fields cuts a command line into its fields, in place; fields that are missing are empty strings. */
static inline void split_fields(char *line, char *fields[MAX_FIELDS]) {
	static char empty[1];
	for (int i = 0; i < MAX_FIELDS; i++) {
		fields[i] = line ? line : empty;
		if (!line) {
			continue;
		}
		line = strchr(line, '\t');
		if (line) {
			*line++ = 0;
		}
		unescape(fields[i]);
	}
}

#endif
