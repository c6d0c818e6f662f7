#include "catalog/base/log.h"

#include "catalog/base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static atomic_int current_level = LOG_WARN;
static atomic_int output_fd = 2;
static atomic_int output_stamped = 0;

void log_set_level(enum log_level level)
{
	atomic_store(&current_level, (int)level);
}

enum log_level log_level(void)
{
	return (enum log_level)atomic_load(&current_level);
}

void log_set_output(int fd, int stamped)
{
	atomic_store(&output_fd, fd);
	atomic_store(&output_stamped, stamped);
}

static void line(enum log_level level, const char *fmt, va_list ap)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	if ((int)level > atomic_load(&current_level))
		return;
	int saved = errno;
	char text[4096];
	size_t n = 0;
	if (atomic_load(&output_stamped)) {
		char when[CLOCK_TEXT_MAX];
		clock_format_ns(clock_now_ns(), when);
		n = (size_t)snprintf(text, sizeof text, "%s %s ", when, names[level]);
	} else if (level <= LOG_WARN) {
		n = (size_t)snprintf(text, sizeof text, level == LOG_WARN ? "meshfs: warning: " : "meshfs: ");
	}
	int more = vsnprintf(text + n, sizeof text - n - 1, fmt, ap);
	size_t end = n + (more > 0 ? (size_t)more : 0);
	if (end > sizeof text - 2)
		end = sizeof text - 2;
	for (size_t i = n; i < end; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = ' ';
	text[end++] = '\n';
	ssize_t written = write(atomic_load(&output_fd), text, end);
	(void)written; /* there is nowhere left to complain */
	errno = saved;
}

#define LINE(level)                  \
	do {                         \
		va_list ap;          \
		va_start(ap, fmt);   \
		line(level, fmt, ap); \
		va_end(ap);          \
	} while (0)

void log_error(const char *fmt, ...)
{
	LINE(LOG_ERROR);
}

void log_warn(const char *fmt, ...)
{
	LINE(LOG_WARN);
}

void log_info(const char *fmt, ...)
{
	LINE(LOG_INFO);
}

void log_debug(const char *fmt, ...)
{
	LINE(LOG_DEBUG);
}
