using System.Data.Common;
using System.Runtime.CompilerServices;

namespace Pakhouse.Server;

/// <summary>What a change tells its database beside its statements.</summary>
internal sealed class TransactionNotes
{
    private static readonly ConditionalWeakTable<DbTransaction, TransactionNotes> notes = [];

    /// <summary>It ends or suspends what could do harm, and so is done on a full disk too; see <see cref="DiskReserve"/>.</summary>
    public bool IsUrgent { get; set; }

    public static TransactionNotes Of(DbTransaction transaction) => notes.GetOrCreateValue(transaction);
}
