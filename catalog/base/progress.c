#include "catalog/base/progress.h"

#include "catalog/base/clock.h"
#include "catalog/base/text.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_INTERVAL_MS 200
#define LINE_INTERVAL_MS 10000

struct progress {
	pthread_mutex_t lock; /* a leaf */
	const char *label, *unit;
	uint64_t total, done;
	int64_t started_ms, shown_ms;
	bool terminal, shown;
};

struct progress *progress_start(const char *label, const char *unit, uint64_t total, bool quiet)
{
	if (quiet)
		return NULL;
	struct progress *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	pthread_mutex_init(&p->lock, NULL);
	p->label = label;
	p->unit = unit;
	p->total = total;
	p->started_ms = p->shown_ms = clock_mono_ms();
	p->terminal = isatty(2);
	return p;
}

static void amount(const struct progress *p, uint64_t n, char text[TEXT_SIZE_MAX])
{
	if (!strcmp(p->unit, "B"))
		text_size(n, text);
	else
		snprintf(text, TEXT_SIZE_MAX, "%llu", (unsigned long long)n);
}

static size_t terminal_width(void)
{
	struct winsize size;
	return !ioctl(2, TIOCGWINSZ, &size) && size.ws_col ? size.ws_col : 80;
}

static void draw_bar(const struct progress *p, char ret[24])
{
	size_t filled = (size_t)(20.0 * (double)(p->done < p->total ? p->done : p->total) / (double)p->total);
	memset(ret, '.', 20);
	memset(ret, '#', filled);
	memcpy(ret + 20, " ", 2);
}

/* A line that is wider than the terminal could not be drawn over again. */
static void print_on_terminal(const char *label, const char *bar, const char *rest)
{
	size_t width = terminal_width();
	char line[256];
	if (strlen(label) + strlen(bar) + strlen(rest) + 2 >= width)
		bar = "";
	snprintf(line, sizeof line, "%s: %s%s", label, bar, rest);
	fprintf(stderr, "\r\033[K%.*s", (int)width - 1, line);
}

static void show(struct progress *p, int64_t now_ms)
{
	char done[TEXT_SIZE_MAX], total[TEXT_SIZE_MAX], rate[TEXT_SIZE_MAX], left[48] = "";
	double seconds = (double)(now_ms - p->started_ms) / 1000;
	double per_second = seconds > 0 ? (double)p->done / seconds : 0;
	amount(p, p->done, done);
	amount(p, p->total, total);
	amount(p, (uint64_t)per_second, rate);
	const char *unit = strcmp(p->unit, "B") ? p->unit : "";
	if (p->total > p->done && per_second > 0) {
		long s = (long)((double)(p->total - p->done) / per_second);
		snprintf(left, sizeof left, ", %ld:%02ld left", s / 60, s % 60);
	}
	char rest[192], bar[24] = "";
	snprintf(rest, sizeof rest, "%s%s%s%s%s (%s/s%s)", done, p->total ? " of " : "", p->total ? total : "", *unit ? " " : "", unit, rate, left);
	if (p->terminal && p->total)
		draw_bar(p, bar);
	if (p->terminal)
		print_on_terminal(p->label, bar, rest);
	else
		fprintf(stderr, "%s: %s\n", p->label, rest);
	p->shown = true;
	p->shown_ms = now_ms;
}

void progress_total(struct progress *p, uint64_t total)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->total = total;
	pthread_mutex_unlock(&p->lock);
}

void progress_add(struct progress *p, uint64_t n)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->done += n;
	int64_t now = clock_mono_ms();
	if (now - p->shown_ms >= (p->terminal ? BAR_INTERVAL_MS : LINE_INTERVAL_MS))
		show(p, now);
	pthread_mutex_unlock(&p->lock);
}

void progress_hide(struct progress *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	if (p->terminal && p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
	pthread_mutex_unlock(&p->lock);
}

void progress_end(struct progress *p)
{
	if (!p)
		return;
	progress_hide(p);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
