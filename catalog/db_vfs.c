/* The methods are those of https://sqlite.org/c3ref/io_methods.html, as far as a file that is only read needs them. */
#include "catalog/db_vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file {
	sqlite3_file base; /* first: SQLite knows this part only */
	int fd;
};

static int file_close(sqlite3_file *f)
{
	close(((struct file *)f)->fd);
	return SQLITE_OK;
}

static int file_read(sqlite3_file *f, void *ret, int amount, sqlite3_int64 offset)
{
	char *to = ret;
	int got = 0;
	while (got < amount) {
		ssize_t n = pread(((struct file *)f)->fd, to + got, (size_t)(amount - got), offset + got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return SQLITE_IOERR_READ;
		if (!n)
			break;
		got += (int)n;
	}
	if (got == amount)
		return SQLITE_OK;
	memset(to + got, 0, (size_t)(amount - got));
	return SQLITE_IOERR_SHORT_READ;
}

static int file_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	struct stat st;
	if (fstat(((struct file *)f)->fd, &st))
		return SQLITE_IOERR_FSTAT;
	*ret = st.st_size;
	return SQLITE_OK;
}

static int file_write(sqlite3_file *f, const void *bytes, int amount, sqlite3_int64 offset)
{
	(void)f, (void)bytes, (void)amount, (void)offset;
	return SQLITE_READONLY;
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	(void)f, (void)size;
	return SQLITE_READONLY;
}

static int file_nothing(sqlite3_file *f, int arg)
{
	(void)f, (void)arg;
	return SQLITE_OK;
}

static int file_reserved(sqlite3_file *f, int *ret)
{
	(void)f;
	*ret = 0;
	return SQLITE_OK;
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
	(void)f, (void)op, (void)arg;
	return SQLITE_NOTFOUND;
}

static int file_sector_size(sqlite3_file *f)
{
	(void)f;
	return 4096;
}

static int file_characteristics(sqlite3_file *f)
{
	(void)f;
	return SQLITE_IOCAP_IMMUTABLE;
}

static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_nothing,
	.xFileSize = file_size,
	.xLock = file_nothing,
	.xUnlock = file_nothing,
	.xCheckReservedLock = file_reserved,
	.xFileControl = file_control,
	.xSectorSize = file_sector_size,
	.xDeviceCharacteristics = file_characteristics,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
	(void)vfs;
	char *end;
	f->pMethods = NULL; /* SQLite closes what has methods */
	if (!name || !(flags & SQLITE_OPEN_MAIN_DB) || !(flags & SQLITE_OPEN_READONLY))
		return SQLITE_CANTOPEN;
	long fd = strtol(name, &end, 10);
	if (end == name || *end || fd < 0 || fd > INT_MAX)
		return SQLITE_CANTOPEN;
	int own = fcntl((int)fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return SQLITE_CANTOPEN;
	((struct file *)f)->fd = own;
	f->pMethods = &methods;
	if (ret_flags)
		*ret_flags = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	(void)vfs, (void)name, (void)sync;
	return SQLITE_READONLY;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
	(void)vfs, (void)name, (void)flags;
	*ret = 0; /* no journal, no write-ahead log */
	return SQLITE_OK;
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int room, char *out)
{
	(void)vfs;
	return snprintf(out, (size_t)room, "%s", name) < room ? SQLITE_OK : SQLITE_CANTOPEN;
}

void db_vfs_register(void)
{
	static sqlite3_vfs vfs;
	const sqlite3_vfs *own = sqlite3_vfs_find(NULL);
	if (!own)
		return;
	vfs = *own; /* randomness, time, sleep */
	vfs.szOsFile = (int)sizeof(struct file);
	vfs.zName = DB_VFS;
	vfs.pNext = NULL;
	vfs.xOpen = vfs_open;
	vfs.xDelete = vfs_delete;
	vfs.xAccess = vfs_access;
	vfs.xFullPathname = vfs_full_name;
	sqlite3_vfs_register(&vfs, 0);
}
