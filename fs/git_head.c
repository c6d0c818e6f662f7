#include "fs/git_head.h"

#include "catalog/base/buf.h"
#include "catalog/base/io.h"
#include "catalog/base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SMALL_FILE (64u << 10)
#define PACKED_FILE (64u << 20)

/* The first line of a small file, or NULL. */
static char *first_line(const char *folder, const char *name)
{
	char *path = io_join(folder, name);
	struct buf b = BUF_INIT;
	char *line = NULL;
	if (path && !io_read_file(path, SMALL_FILE, &b, NULL) && b.len) {
		b.data[strcspn(b.data, "\n")] = '\0';
		line = strdup(b.data);
	}
	buf_free(&b);
	free(path);
	return line;
}

static int take_commit(const char *text, char ret[GIT_COMMIT_MAX])
{
	size_t len = strspn(text, "0123456789abcdef");
	if ((len != 40 && len != 64) || (text[len] && !isspace((unsigned char)text[len])))
		return -ENOENT;
	memcpy(ret, text, len);
	ret[len] = '\0';
	return 0;
}

/* "<commit> refs/heads/main" in packed-refs. */
static int packed_ref(const char *folder, const char *ref, char ret[GIT_COMMIT_MAX])
{
	char *path = io_join(folder, "packed-refs");
	struct buf b = BUF_INIT;
	int r = -ENOENT;
	if (path && !io_read_file(path, PACKED_FILE, &b, NULL)) {
		char *rest = NULL;
		for (char *line = b.len ? strtok_r(b.data, "\n", &rest) : NULL; line && r; line = strtok_r(NULL, "\n", &rest)) {
			char *space = strchr(line, ' ');
			if (space && !strcmp(space + 1, ref))
				r = take_commit(line, ret);
		}
	}
	buf_free(&b);
	free(path);
	return r;
}

static int resolve_ref(const char *folder, const char *ref, char ret[GIT_COMMIT_MAX])
{
	if (!text_starts(ref, "refs/") || strstr(ref, ".."))
		return -ENOENT;
	char *line = first_line(folder, ref);
	int r = line ? take_commit(line, ret) : packed_ref(folder, ref, ret);
	free(line);
	return r;
}

static int head_of(const char *git, char ret[GIT_COMMIT_MAX])
{
	char *head = first_line(git, "HEAD");
	if (!head)
		return -ENOENT;
	int r = take_commit(head, ret);
	if (r && text_starts(head, "ref: ")) {
		r = resolve_ref(git, head + 5, ret);
		/* A linked worktree has its branches in the repository it belongs to. */
		char *common = r ? first_line(git, "commondir") : NULL;
		char *folder = common ? io_absolute(git, common) : NULL;
		if (folder)
			r = resolve_ref(folder, head + 5, ret);
		free(folder);
		free(common);
	}
	free(head);
	return r;
}

/* `.git` is the repository, or a file that names it. */
static int try_folder(const char *folder, char ret[GIT_COMMIT_MAX])
{
	char *git = io_join(folder, ".git");
	struct stat st;
	int r = -ENOENT;
	if (git && !stat(git, &st)) {
		if (S_ISDIR(st.st_mode)) {
			r = head_of(git, ret);
		} else {
			char *line = first_line(folder, ".git");
			char *linked = line && text_starts(line, "gitdir: ") ? io_absolute(folder, line + 8) : NULL;
			if (linked)
				r = head_of(linked, ret);
			free(linked);
			free(line);
		}
	} else {
		r = -EAGAIN; /* look further up */
	}
	free(git);
	return r;
}

int git_head(const char *folder, char ret[GIT_COMMIT_MAX])
{
	char *at = io_absolute(NULL, folder);
	int r = at ? -EAGAIN : -ENOENT;
	while (r == -EAGAIN) {
		r = try_folder(at, ret);
		char *slash = strrchr(at, '/');
		if (r != -EAGAIN)
			break;
		if (!slash || slash == at)
			r = -ENOENT;
		else
			*slash = '\0';
	}
	free(at);
	return r;
}
