#include "catalog/base/progress.h"

#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A terminal hands on what was written a moment later: reads until nothing more comes. */
static void read_all(int fd, char *ret, size_t size)
{
	struct pollfd in = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	while (len < size - 1 && poll(&in, 1, 500) > 0) {
		ssize_t n = read(fd, ret + len, size - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	ret[len] = '\0';
}

/* What a step of work prints on a terminal `columns` wide, drawn at least once, then hidden. */
static void drawn_on(unsigned short columns, char *ret, size_t size)
{
	struct winsize window = { .ws_row = 24, .ws_col = columns };
	int us = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK), stderr_was = dup(2);
	CHECK(us >= 0 && !grantpt(us) && !unlockpt(us));
	int them = open(ptsname(us), O_RDWR | O_NOCTTY);
	CHECK(them >= 0 && !ioctl(them, TIOCSWINSZ, &window) && dup2(them, 2) == 2);
	struct progress *p = progress_start("verifying", "B", 4096, false);
	usleep(250000);
	progress_add(p, 1024);
	progress_hide(p);
	progress_end(p);
	dup2(stderr_was, 2);
	read_all(us, ret, size); /* while `them` is open: closing it would end the terminal */
	close(stderr_was);
	close(them);
	close(us);
}

TEST(a_bar_and_then_a_clean_line)
{
	char text[1024];
	drawn_on(80, text, sizeof text);
	CHECK(strstr(text, "\r\033[Kverifying: #####............... 1.0 KiB of 4.0 KiB ("));
	CHECK(strstr(text, " left)\r\033[K"));
}

TEST(a_narrow_terminal_is_never_wrapped)
{
	char text[1024];
	drawn_on(24, text, sizeof text);
	CHECK_STR(text, "\r\033[Kverifying: 1.0 KiB of 4\r\033[K");
}

CHECK_MAIN()
