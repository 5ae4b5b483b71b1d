using System.Data.Common;

namespace Pakhouse.Server;

/// <summary>A message that was given up.</summary>
/// <param name="InvitationId">The invitation that it carried, if any.</param>
/// <param name="Why">In our words, for people and the record.</param>
public sealed record LostMail(string Recipient, Guid? InvitationId, DateTimeOffset SentAt, string Why);

/// <summary>Who has to know that a message was given up: asked in the transaction that gives it up.</summary>
public interface IMailLoss
{
    Task NotifyAsync(DbTransaction transaction, LostMail lost);
}
