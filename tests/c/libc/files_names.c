/* Names: creating, removing and renaming, directories, what is known of files, the working directory. */

#include "show.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include <utime.h>

static void make(const char *name)
{
    close(open(name, O_WRONLY | O_CREAT, 0644));
}

static int by_name(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static void list(const char *name)
{
    DIR *directory = opendir(name);
    char *names[1000];
    int count = 0;
    struct dirent *entry;
    while ((entry = readdir(directory)))
        if (asprintf(&names[count], "%s %d", entry->d_name, entry->d_type) > 0)
            count++;
    closedir(directory);
    qsort(names, count, sizeof *names, by_name);
    for (int i = 0; i < count; i++) {
        if (i < 8)
            printf("%s, ", names[i]);
        free(names[i]);
    }
    printf("%d in %s\n", count, name);
}

static void names(void)
{
    SAY(mkdir("work/d", 0755));
    SAY(mkdir("work/d", 0755));
    SAY(mkdir("work/none/d", 0755));
    SAY(mkdir("work/d/e/", 0700));
    make("work/d/f");
    SAY(mkdir("work/d/f/g", 0700));
    list("work/d");
    SAY(rmdir("work/d"));
    SAY(rmdir("work/d/f"));
    SAY(unlink("work/d/e"));
    SAY(unlink("work/d/none"));
    SAY(unlink("work/d/f/"));
    SAY(rename("work/d/f", "work/d/e"));
    SAY(rename("work/d/e", "work/d/f"));
    SAY(rename("work/d", "work/d/e/x"));
    SAY(rename("work/d/none", "work/x"));
    SAY(rename("work/d/f", "work/x"));
    make("work/y");
    SAY(rename("work/x", "work/y"));
    SAY(access("work/x", F_OK));
    SAY(access("work/y", F_OK));
    make("work/z");
    int directory = open("work", O_RDONLY | O_DIRECTORY);
    SAY(mkdirat(directory, "at", 0700));
    SAY(renameat(directory, "z", directory, "at/z"));
    SAY(unlinkat(directory, "at", 0));
    SAY(unlinkat(directory, "at", AT_REMOVEDIR));
    SAY(unlinkat(directory, "at/z", 0));
    SAY(unlinkat(directory, "at", AT_REMOVEDIR));
    SAY(faccessat(directory, "y", R_OK, 0));
    SAY(faccessat(directory, "none", R_OK, 0));
    SAY(unlinkat(directory, "y", 12345));
    struct stat status;
    SAY(fstatat(directory, "d/e", &status, 0));
    printf("directory %d mode %o\n", S_ISDIR(status.st_mode), status.st_mode & 0777);
    SAY(fstatat(directory, "", &status, AT_EMPTY_PATH));
    SAY(fstatat(directory, "", &status, 0));
    SAY(fsync(directory));
    close(directory);
    SAY(readlink("work/y", (char[10]){0}, 10));
    SAY(readlink("work/none", (char[10]){0}, 10));
    SAY(rmdir("work/d/e"));
    SAY(rmdir("work/d"));
}

static void directories(void)
{
    mkdir("work/many", 0755);
    char name[60];
    for (int i = 0; i < 300; i++) {
        sprintf(name, "work/many/entry-with-a-name-%03d", i);
        make(name);
    }
    list("work/many");
    DIR *directory = opendir("work/many");
    long place = 0;
    char after[300] = "";
    int count = 0;
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        count++;
        if (count == 100)
            place = telldir(directory);
        if (count == 101)
            strcpy(after, entry->d_name);
    }
    printf("count %d\n", count);
    seekdir(directory, place);
    entry = readdir(directory);
    printf("again %d\n", entry && strcmp(entry->d_name, after) == 0);
    rewinddir(directory);
    for (count = 0; readdir(directory); count++)
        ;
    printf("count %d, descriptor %d\n", count, dirfd(directory) >= 0);
    SAY(closedir(directory));
    SAY(opendir("work/none") == NULL);
    printf("errno %d\n", errno);
    SAY(opendir("work/many/entry-with-a-name-000") == NULL);
    struct dirent **found;
    SAY(scandir("work/many", &found, NULL, alphasort));
    printf("%s %s\n", found[0]->d_name, found[301]->d_name);
    for (int i = 0; i < 300; i++) {
        sprintf(name, "work/many/entry-with-a-name-%03d", i);
        unlink(name);
    }
    SAY(rmdir("work/many"));
}

static void status(void)
{
    make("work/s");
    struct stat status;
    SAY(chmod("work/s", 0600));
    stat("work/s", &status);
    printf("mode %o, regular %d\n", status.st_mode, S_ISREG(status.st_mode));
    int file = open("work/s", O_RDWR);
    SAY(fchmod(file, 0644));
    SAY(fchmodat(AT_FDCWD, "work/s", 0640, 0));
    fstat(file, &status);
    printf("mode %o\n", status.st_mode);
    SAY(truncate("work/s", 1000));
    SAY(truncate("work", 1000));
    SAY(truncate("work/s", -1));
    SAY(truncate("work/none", 1));
    struct timespec times[2] = {{1000, 500}, {2000, 999999999}};
    SAY(utimensat(AT_FDCWD, "work/s", times, 0));
    stat("work/s", &status);
    printf("%ld %ld %ld %ld size %ld\n", (long)status.st_atim.tv_sec, status.st_atim.tv_nsec,
        (long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec, (long)status.st_size);
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_sec = -5;
    times[1].tv_nsec = 0;
    SAY(futimens(file, times));
    fstat(file, &status);
    printf("%ld %ld\n", (long)status.st_atim.tv_sec, (long)status.st_mtim.tv_sec);
    times[1].tv_nsec = 1000000000;
    SAY(futimens(file, times));
    SAY(utimensat(AT_FDCWD, "work/none", NULL, 0));
    SAY(utime("work/s", &(struct utimbuf){77, 88}));
    SAY(utimes("work/s", (struct timeval[2]){{66, 5}, {55, 6}}));
    stat("work/s", &status);
    printf("%ld %ld\n", (long)status.st_atim.tv_sec, status.st_mtim.tv_nsec);
    struct stat other;
    make("work/t");
    stat("work/t", &other);
    printf("same file system %d, other file %d\n", status.st_dev == other.st_dev, status.st_ino != other.st_ino);
    SAY(lstat("work/s", &status));
    SAY(access("work/s", R_OK | W_OK));
    SAY(access("work/s", 100));
    SAY(unlink("work/s"));
    fstat(file, &status);
    printf("links %ld\n", (long)status.st_nlink);
    SAY(write(file, "still", 5));
    close(file);
}

static void working(void)
{
    char before[1000], now[1000];
    getcwd(before, sizeof before);
    mkdir("work/here", 0755);
    make("work/here/file");
    SAY(chdir("work/here"));
    getcwd(now, sizeof now);
    printf("%s\n", strrchr(now, '/'));
    SAY(access("file", F_OK));
    SAY(access("../here/./file", F_OK));
    SAY(access("../../work/here/file", F_OK));
    SAY(getcwd(now, 2) == NULL);
    printf("errno %d\n", errno);
    SAY(chdir("none"));
    SAY(chdir("file"));
    int directory = open("..", O_RDONLY);
    SAY(fchdir(directory));
    SAY(access("here/file", F_OK));
    close(directory);
    SAY(fchdir(directory));
    SAY(chdir(before));
    SAY(access("work/here/file", F_OK));
    char *whole = realpath("work/../work/./here/file", NULL);
    printf("%s\n", whole ? strstr(whole, "/work/") : "none");
    free(whole);
    SAY(umask(077));
    close(open("work/masked", O_CREAT | O_WRONLY, 0666));
    struct stat status;
    stat("work/masked", &status);
    printf("mode %o\n", status.st_mode);
    SAY(umask(022));
    char name[] = "work/templateXXXXXX";
    int file = mkstemp(name);
    printf("%d\n", file >= 0 && strlen(name) == 19);
    SAY(mkdtemp((char[]){"work/directoryXXXXXX"}) != NULL);
}

int main(void)
{
    umask(022);
    names();
    directories();
    status();
    working();
    return 0;
}
