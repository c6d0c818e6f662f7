/*
 * A VFS of SQLite that reads an open file: the database is what the descriptor stands for, whatever became of its name.
 * (SQLite's own VFS opens by name only, and does not follow the names of /proc/self/fd.)
 */
#ifndef MESHFS_CATALOG_DB_VFS_H
#define MESHFS_CATALOG_DB_VFS_H

#define DB_VFS "meshfs-fd"

/*
 * Registers it, once in a process and before the first use; sqlite3_config must be done.  Out of memory: SQLite will not know its name.
 *
 * To be opened as "file:N?immutable=1" with SQLITE_OPEN_READONLY and SQLITE_OPEN_URI, N being the descriptor in decimal, which is
 * duplicated: the caller keeps his own.  There are no locks and no journal, so nobody may change the file.
 */
void db_vfs_register(void);

#endif
