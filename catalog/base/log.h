/*
 * The log of a long-running process, and the words a command says on stderr.
 *
 * Log once, at the boundary that stops an error from propagating; libraries return errors instead.  Never log
 * credentials, signed URLs, keys or values of rows.  Control characters in arguments are replaced.
 *
 * Thread rules: every function may be called from any thread; a line is written with one write(2).
 */
#ifndef MESHFS_BASE_LOG_H
#define MESHFS_BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* The only mutable global of the project.  Set it before threads start. */
void log_set_level(enum log_level level);
enum log_level log_level(void);

/* Where lines go: a file descriptor (default 2).  With `stamped`, each line starts with the UTC time and level, as a
 * daemon's log wants; without, an error or warning starts with "meshfs: ". */
void log_set_output(int fd, int stamped);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
