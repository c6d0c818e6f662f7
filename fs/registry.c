#include "fs/registry.h"

#include "fs/mountpoint.h"

#include "catalog/base/buf.h"
#include "catalog/base/clock.h"
#include "catalog/base/doc.h"
#include "catalog/base/hash.h"
#include "catalog/base/io.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define FILE_BYTES_MAX 65536
#define NAME_HEX 32

struct registration {
	char *path;
	int fd;
};

static char *folder_path(void)
{
	char *runtime = io_runtime_folder();
	char *folder = runtime ? io_join(runtime, "mounts") : NULL;
	free(runtime);
	return folder;
}

static char *file_path(const char *mountpoint)
{
	struct digest digest;
	char hex[SHA256_HEX_SIZE];
	char *folder = folder_path(), *path = NULL;
	sha256_of(mountpoint, strlen(mountpoint), &digest);
	hex_format(digest.bytes, SHA256_SIZE, hex);
	if (folder)
		path = text_format("%s/%.*s.json", folder, NAME_HEX, hex);
	free(folder);
	return path;
}

static void write_facts(const struct mount_facts *f, const char *problem, struct buf *out)
{
	struct json j;
	json_start(&j, out);
	json_open(&j, '{');
	json_field_text(&j, "mountpoint", f->mountpoint);
	json_field_text(&j, "mesh", f->mesh);
	json_field_text(&j, "mesh_path", f->mesh_path);
	json_field_text(&j, "user", f->user);
	json_field_text(&j, "purpose", f->purpose);
	json_field_text(&j, "run", f->run);
	json_field_text(&j, "run_id", f->run_id);
	json_field_text(&j, "log", f->log);
	json_field_int(&j, "pid", f->pid);
	json_field_int(&j, "started_ns", f->started_ns);
	json_field_text(&j, "problem", problem);
	json_close(&j, '}');
	buf_addc(out, '\n');
}

int registry_begin(const struct mount_facts *facts, struct registration **ret, struct err *e)
{
	struct buf text = BUF_INIT;
	struct registration *r = calloc(1, sizeof *r);
	int code = 0;
	if (!r || !(r->path = file_path(facts->mountpoint))) {
		free(r);
		return err_set(e, -ENOMEM, "no folder for runtime files: no memory, or XDG_RUNTIME_DIR cannot be used");
	}
	r->fd = -1;
	code = io_make_parents(r->path, 0700, e);
	write_facts(facts, "", &text);
	if (!code && (r->fd = open(r->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0)
		code = err_set_kind(e, ERR_FAIL, -errno, "%s: %s", r->path, strerror(errno));
	if (!code && flock(r->fd, LOCK_EX | LOCK_NB))
		code = err_set(e, -EBUSY, "%s: another process serves this mount point", facts->mountpoint);
	if (!code && (ftruncate(r->fd, 0) || io_write_full(r->fd, text.data, text.len)))
		code = err_set(e, -EIO, "%s: cannot be written: %s", r->path, strerror(errno));
	buf_free(&text);
	if (code) {
		if (r->fd >= 0)
			close(r->fd);
		free(r->path);
		free(r);
		return code;
	}
	*ret = r;
	return 0;
}

void registry_end(struct registration *r, const char *problem)
{
	if (!r)
		return;
	/* Whoever waits holds the file open and reads this when the lock is free. */
	if (ftruncate(r->fd, 0) || io_pwrite_full(r->fd, problem, strlen(problem), 0))
		(void)0; /* then it reads nothing: no problem is known */
	unlink(r->path);
	close(r->fd);
	free(r->path);
	free(r);
}

int registry_wait(const char *mountpoint, char *ret_problem, size_t size)
{
	char *path = file_path(mountpoint);
	int fd = path ? open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW) : -1;
	int r = fd < 0 ? -ENOENT : 0;
	while (!r && flock(fd, LOCK_EX)) {
		if (errno != EINTR)
			r = -errno;
	}
	if (!r) {
		ssize_t n = pread(fd, ret_problem, size - 1, 0);
		ret_problem[n > 0 ? n : 0] = '\0';
		if (ret_problem[0] == '{') { /* killed before it could say how it ended */
			snprintf(ret_problem, size, "its process was killed; what it had recorded is put in the database by the next meshfs");
			unlink(path);
		}
	}
	if (fd >= 0)
		close(fd);
	free(path);
	return r;
}

/* -- listing --------------------------------------------------------------------------------- */

static int list_one(const char *path, int (*each)(void *arg, const struct mount_facts *facts, bool alive), void *arg)
{
	struct buf text = BUF_INIT;
	struct doc *d = NULL;
	int64_t pid = 0, r = 0;
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return 0;
	bool alive = flock(fd, LOCK_EX | LOCK_NB) != 0;
	if (!io_read_file(path, FILE_BYTES_MAX, &text, NULL) && text.len && !doc_parse(path, text.data, text.len, &d, NULL)) {
		const struct doc_node *root = doc_root(d);
		struct mount_entry entry;
		struct mount_facts f = { .mountpoint = doc_get_text(root, "mountpoint"),
					 .mesh = doc_get_text(root, "mesh"),
					 .mesh_path = doc_get_text(root, "mesh_path"),
					 .user = doc_get_text(root, "user"),
					 .purpose = doc_get_text(root, "purpose"),
					 .run = doc_get_text(root, "run"),
					 .run_id = doc_get_text(root, "run_id"),
					 .log = doc_get_text(root, "log") };
		doc_int(doc_get(root, "pid"), &pid);
		doc_int(doc_get(root, "started_ns"), &f.started_ns);
		f.pid = (pid_t)pid;
		if (f.mountpoint && (alive || !mountpoint_find(f.mountpoint, &entry)))
			r = each(arg, &f, alive);
		else if (f.mountpoint)
			unlink(path);
	}
	doc_free(d);
	buf_free(&text);
	close(fd);
	return (int)r;
}

int registry_list(int (*each)(void *arg, const struct mount_facts *facts, bool alive), void *arg)
{
	char *folder = folder_path();
	DIR *dir = folder ? opendir(folder) : NULL;
	int r = 0;
	for (struct dirent *d; dir && !r && (d = readdir(dir));) {
		char *path = text_ends(d->d_name, ".json") ? io_join(folder, d->d_name) : NULL;
		if (path)
			r = list_one(path, each, arg);
		free(path);
	}
	if (dir)
		closedir(dir);
	free(folder);
	return r;
}
