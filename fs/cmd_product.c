/* product new: a first contract, drafted by looking at the data. */
#include "catalog/address.h"
#include "catalog/base/io.h"
#include "catalog/base/log.h"
#include "catalog/base/text.h"
#include "catalog/profile.h"
#include "fs/cmd_product.h"
#include "fs/commands.h"
#include "policy/duckdb.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 64
#define PIECE (1u << 20)
#define PARQUET_ROWS 200000u /* that are looked at */

static int profile_bytes(struct profile *p, const char *source, const char *path, struct err *e)
{
	int r = profile_file_begin(p, path, e);
	if (r)
		return r == -EOPNOTSUPP ? 0 : r;
	int fd = open(source, O_RDONLY | O_CLOEXEC);
	char *piece = malloc(PIECE);
	if (fd < 0 || !piece)
		r = err_set(e, fd < 0 ? -errno : -ENOMEM, "%s: %s", source, strerror(fd < 0 ? errno : ENOMEM));
	while (!r) {
		ssize_t n = read(fd, piece, PIECE);
		if (n < 0)
			r = err_set(e, -errno, "%s: %s", source, strerror(errno));
		if (n <= 0)
			break;
		r = profile_file_feed(p, piece, (size_t)n, e);
	}
	if (!r)
		r = profile_file_end(p, e);
	free(piece);
	if (fd >= 0)
		close(fd);
	return r;
}

/* The first rows of a Parquet file as JSON lines, by the engine. */
static int rows_of_parquet(const char *source, const char *rows, struct err *e)
{
	struct duckdb_session *engine = NULL;
	struct buf sql = BUF_INIT;
	buf_adds(&sql, "copy (select * from read_parquet(");
	buf_add_sql(&sql, source, '\'');
	buf_addf(&sql, ") limit %u) to ", PARQUET_ROWS);
	buf_add_sql(&sql, rows, '\'');
	buf_adds(&sql, " (format json)");
	int r = buf_check(&sql);
	if (!r)
		r = duckdb_session_new(&engine, e);
	if (!r)
		r = duckdb_session_run(engine, buf_text(&sql), e);
	duckdb_session_free(engine);
	buf_free(&sql);
	return r;
}

static int profile_parquet(struct profile *p, const char *source, const char *path, struct err *e)
{
	char *folder, *rows;
	struct err why = ERR_INIT;
	int r = io_make_scratch_folder("meshfs", &folder);
	if (r)
		return err_set(e, r, "no place for the rows of %s: %s", path, strerror(-r));
	rows = io_join(folder, "rows.json");
	r = rows ? rows_of_parquet(source, rows, &why) : -ENOMEM;
	if (r)
		log_warn("%s: its columns are not drafted: %s", path, *why.text ? why.text : strerror(-r));
	r = r ? 0 : profile_bytes(p, rows, path, e);
	if (rows)
		unlink(rows);
	rmdir(folder);
	free(rows);
	free(folder);
	return r;
}

static int profile_one(struct profile *p, const char *source, const char *path, struct err *e)
{
	return text_ends(path, ".parquet") ? profile_parquet(p, source, path, e) : profile_bytes(p, source, path, e);
}

static int profile_source(struct profile *p, const char *source, const char *path, int depth, struct err *e);

static int profile_folder(struct profile *p, const char *source, const char *path, int depth, struct err *e)
{
	struct dirent **names;
	int count = scandir(source, &names, NULL, alphasort), r = 0;
	if (count < 0)
		return err_set(e, -errno, "%s: %s", source, strerror(errno));
	for (int i = 0; i < count; i++) {
		const char *name = names[i]->d_name;
		if (!r && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
			char *below = io_join(source, name), *within = *path ? io_join(path, name) : strdup(name);
			r = below && within ? profile_source(p, below, within, depth + 1, e) : err_set(e, -ENOMEM, "out of memory");
			free(below);
			free(within);
		}
		free(names[i]);
	}
	free(names);
	return r;
}

static int profile_source(struct profile *p, const char *source, const char *path, int depth, struct err *e)
{
	struct stat st;
	if (depth ? lstat(source, &st) : stat(source, &st))
		return err_set(e, -errno, "%s: %s", source, strerror(errno));
	if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
		return profile_folder(p, source, path, depth, e);
	return S_ISREG(st.st_mode) ? profile_one(p, source, path, e) : 0;
}

/* Sources as publish takes them: the content of one folder, or several files and folders by name. */
static int profile_all(struct profile *p, char **sources, int count, struct err *e)
{
	int r = 0;
	for (int i = 0; i < count && !r; i++) {
		struct stat st;
		const char *slash = strrchr(sources[i], '/');
		bool content = count == 1 && !stat(sources[i], &st) && S_ISDIR(st.st_mode);
		r = profile_source(p, sources[i], content ? "" : slash && slash[1] ? slash + 1 : sources[i], 0, e);
	}
	return r;
}

static int product_new(int argc, char **argv, struct err *e)
{
	const char *output = NULL;
	bool force = false;
	const struct option_spec specs[] = {
		{ "--output", 'o', OPTION_TEXT, "FILE", "write the contract there; else to standard output", &output },
		{ "--force", 0, OPTION_FLAG, NULL, "replace FILE when it is there already", &force },
	};
	int words;
	int r = options_parse("product new ADDRESS FROM… [options]",
			      "Drafts a data contract (ODCS) by looking at the data: columns, types, ranges, likely keys, likely\n"
			      "personal data.  Read it, correct it, then: meshfs publish ADDRESS FROM… --contract FILE",
			      specs, 2, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words < 2)
		return options_wrong(e, "product", "product new wants an address and at least one file or folder");
	if (output && !force && !access(output, F_OK))
		return err_set(e, -EEXIST, "%s is there already, perhaps corrected by hand: write to another file, or replace it with --force", output);
	struct address a;
	struct buf text = BUF_INIT;
	r = address_parse(argv[0], &a, e);
	if (!r && !*a.product)
		r = options_wrong(e, "product", "%s: give domain/product", argv[0]);
	struct profile *p = r ? NULL : profile_new();
	if (!r && !p)
		r = err_set(e, -ENOMEM, "out of memory");
	if (!r)
		r = profile_all(p, argv + 1, words - 1, e);
	if (!r)
		r = profile_contract(p, a.domain, a.product, &text, e);
	if (!r && output)
		r = io_write_output(output, text.data, text.len, 0644, e);
	else if (!r)
		fwrite(text.data, 1, text.len, stdout);
	buf_free(&text);
	profile_free(p);
	return r;
}

int cmd_product(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	(void)ret_status;
	if (argc > 1 && !strcmp(argv[1], "new"))
		return product_new(argc - 1, argv + 1, e);
	if (argc > 1 && !strcmp(argv[1], "describe"))
		return product_describe(inv, argc - 1, argv + 1, e);
	if (argc > 1 && !strcmp(argv[1], "--help")) {
		printf("usage: meshfs product new ADDRESS FROM… [--output FILE [--force]]\n       meshfs product describe DOMAIN FILE… [--remove ID] [--print ID]\n\n"
		       "Drafts a data contract by looking at the data; keeps descriptions of a domain's products and their ports (ODPS).\n");
		return 0;
	}
	return options_wrong(e, "product", argc > 1 ? "%s: there are 'product new' and 'product describe'" : "product wants a verb: new or describe", argc > 1 ? argv[1] : "");
}
